"""Let a folder hand on its public names, each from a file that is imported only when the name is asked for.

A folder's ``__init__.py`` lists the names under ``if TYPE_CHECKING``, where type checkers and readers find them; the
same list says at run time where each comes from. So importing one channel does not import the other's libraries.
"""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def on_demand(package: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose ``if TYPE_CHECKING`` lists where its public names come from."""
    module = sys.modules[package]
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    home_of = {alias.name: str(node.module) for node in imports for alias in node.names}

    def fetch(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module '{package}' has no public name '{name}'")
        value = getattr(import_module(home_of[name]), name)
        setattr(module, name, value)
        return value

    return fetch
