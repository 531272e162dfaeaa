"""The processes that commands of ours have had forked."""

from contextlib import suppress

import psutil

MARK = "from multiprocessing.forkserver import main"
"""On the command line of a forkserver, and so of all that are forked from it."""


def servers(ancestor: psutil.Process) -> list[psutil.Process]:
    """The forkservers among the descendants of a process."""
    return [process for process in _marked(ancestor) if not _is_marked(process.parent())]


def forked(ancestor: psutil.Process) -> list[psutil.Process]:
    """What was forked from them, the first first."""
    return sorted((process for process in _marked(ancestor) if _is_marked(process.parent())), key=lambda own: own.pid)


def _marked(ancestor: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [process for process in ancestor.children(recursive=True) if _is_marked(process)]
    return []


def _is_marked(process: psutil.Process | None) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return process is not None and MARK in " ".join(process.cmdline())
    return False


def stage_pids() -> set[int]:
    """The stages' processes among the children of this one."""
    return {process.pid for process in forked(psutil.Process())}
