"""``stageplan``: every command under one name, which no folder of the directory that one works in can hide."""

import sys
from importlib import import_module
from typing import NoReturn

PACKAGES = {
    "profile": ("profiler", ()),
    "plan": ("optimizer", ()),
    "check": ("optimizer", ("check",)),
    "export": ("optimizer", ("export",)),
}
"""The package of a command that is not one of ``python -m runtime``, and what comes first in its arguments."""


def program() -> NoReturn:
    """Be ``stageplan``."""
    from runtime.cluster import exit_with

    exit_with(main)


def main(argv: list[str] | None = None) -> int:
    """Run ``stageplan profile``, ``plan``, ``check``, ``export`` or a command of ``python -m runtime``."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(
            "usage: stageplan profile | plan | check | export | compare | run | train | verify | links | report\n"
        )
        return 0
    package, first = PACKAGES.get(name, ("runtime", (name,)))
    code: int = import_module(f"{package}.cli.main").main([*first, *rest])
    return code
