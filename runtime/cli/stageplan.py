"""``stageplan``: every command under one name, which no folder of the directory that one works in can hide."""

import platform
import sys
from importlib import import_module, metadata
from typing import NoReturn

import runtime.hosts
from profiler.commands import ONE_NAME, PACKAGES, typed_as
from profiler.errors import suggest

HELP = """\
usage: stageplan COMMAND [options]

  profile   measure what each layer of a model costs on one core
  plan      find the best split into stages, one core each
  compare   run the best split and others, and compare them
  run       run one plan
  train     train with a plan, and keep the weights
  verify    hold a pipeline against one process, bit for bit

stageplan COMMAND --help lists its options; stageplan --version prints the versions.
"""


def program() -> NoReturn:
    """Be ``stageplan``."""
    runtime.hosts.exit_with(main)


@typed_as(ONE_NAME)
def main(argv: list[str] | None = None) -> int:
    """Run ``stageplan profile``, ``plan`` or a command of ``python -m runtime``."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(HELP)
        return 0
    if name == "--version":
        versions = ", ".join(f"{package} {_version(package)}" for package in ("stageplan", "torch"))
        sys.stdout.write(f"{versions}, Python {platform.python_version()}\n")
        return 0
    names = [line.split()[0] for line in HELP.splitlines() if line.startswith("  ")]
    if name not in names:
        sys.stderr.write(f"error: there is no command '{name}'{suggest(name, names)}; see stageplan --help\n")
        return 2
    package = PACKAGES.get(name)
    code: int = import_module(f"{package or 'runtime'}.cli.main").main(rest if package else [name, *rest])
    return code


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # such as a checkout on PYTHONPATH
        return "(not installed)"
