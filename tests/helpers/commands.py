"""The three commands, as tests call them; and Python in a folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from places import CHECKOUT, HELPERS

from optimizer.cli import main as optimizer_cli
from profiler.cli import main as profiler_cli
from runtime.cli import main as runtime_cli

Command = Callable[[list[str]], int]
PROFILE: Command = profiler_cli.main
OPTIMIZE: Command = optimizer_cli.main
RUN: Command = runtime_cli.main
MODEL = ["--model", "small_models:Residual", "--batch-size", "4", "--image-size", "16"]
SMALL = [*MODEL, "--slice", "none"]


def refusal(command: Command, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command that has to fail, and return its exit code and its complaint."""
    try:
        code = command(arguments)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert not printed.out
    return code, [line for line in printed.err.splitlines() if line.startswith("error: ")][-1]


def python(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, input=stdin, capture_output=True, text=True, timeout=100, check=False,
        env=os.environ | {"PYTHONPATH": f"{CHECKOUT}:{HELPERS}"},
    )  # fmt: skip
