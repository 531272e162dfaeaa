"""The folders: their public names mean one thing, and importing them needs no torch."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
FOLDERS = sorted(
    path.parent for package in ("profiler", "optimizer", "runtime") for path in (TOP / package).glob("*/__init__.py")
)


def name_of(folder: Path) -> str:
    return ".".join(folder.relative_to(TOP).parts)


def public_names(folder: Path) -> set[str]:
    """What the folder's ``__init__.py`` lists."""
    blocks = [node for node in ast.parse((folder / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names}


def defined(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    named = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assigned = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    return named | {target.id for target in assigned if isinstance(target, ast.Name)}


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_every_public_name_is_defined_in_one_file_and_is_none_itself(folder: Path) -> None:
    files = [path for path in folder.glob("*.py") if path.stem != "__init__"]
    homes = Counter(name for path in files for name in defined(path))
    for name in public_names(folder):
        assert homes[name] <= 1, f"{name} is defined in several files"
        assert name not in {path.stem for path in files}, f"{name} is a file, too"


def test_importing_every_folder_needs_no_torch() -> None:
    code = "\n".join(
        [*(f"import {name_of(folder)}" for folder in FOLDERS), "import sys", "print('torch' in sys.modules)"]
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
