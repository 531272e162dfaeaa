"""The examples run as they stand, each in a process of its own, and say what they are for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import CHECKOUT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "where_to_cut",
            "2 stages, 1f1b: (the best split for this profile|of the splits whose slowest stage is within )",
        ),
        ("train_and_keep", "plain PyTorch, with these weights: "),
        ("compare_two_splits", "equal-load"),
        ("language_model", "the head is the embedding: True"),
        ("two_towers", r"loss over all, in eval mode: 0\."),
        ("recurrent", "sums right: "),
    ],
)
def test_an_example_runs_as_it_stands(name: str, words: str, tmp_path: Path) -> None:
    run(name, words, tmp_path)


@pytest.mark.parametrize(("name", "package"), [("bert", "transformers"), ("vision_transformer", "timm")])
def test_an_example_of_another_package_runs_where_that_is_installed(name: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    run(name, "<All keys matched successfully>", tmp_path)


def run(name: str, words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "examples" / f"{name}.py")],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(CHECKOUT)}, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(words, done.stdout)
    assert list(tmp_path.iterdir()) == [], "an example leaves nothing behind"
