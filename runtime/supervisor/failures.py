"""Tell which stage is at fault, and put it into words: the first cause, what it was doing, and what only followed.

A stage that raises says so itself. One that dies leaves its exit code and its status. One that hangs is found by its
status: it has been at one action for longer than the stall timeout allows, while a stage that waits for a neighbour
is never at fault as long as another one works. Where all wait, the one whose process is stopped is at fault.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import psutil

from profiler.machine import GUARD, ORPHANED, ORPHANS, UNGUARDED
from runtime.errors import ALONE, Failure, InputError, RunError, first_of
from runtime.worker import Phase, Progress

STALL_TIMEOUT_S = 60.0
"""How long an action may take where nothing else is said, unless its prediction is long itself."""
GENEROSITY = 20.0
"""So many times its predicted time an action may take before its stage counts as hung."""


def patience_s(stall_timeout_s: float | None, expected_s: float) -> float:
    """Return how long one action of a stage may take: as told, or else by the prediction."""
    return stall_timeout_s or max(STALL_TIMEOUT_S, GENEROSITY * expected_s)


def hung(
    progress: Mapping[int, Progress], patience: Sequence[float], now_s: float, stopped: Callable[[int], bool]
) -> int | None:
    """Return the stage that has hung, if one has: working for too long, or all waiting for too long.

    Of several, one whose process is stopped is at fault, else the one that is the longest over its time.

    Args:
        progress: What the stages that have yet to answer are doing.
        patience: How long an action of each stage may take.
        now_s: The time.
        stopped: Says whether a stage's process is stopped.
    """
    over = {stage: now_s - state.since_s - patience[stage] for stage, state in progress.items()}
    late = [stage for stage, by in over.items() if by > 0]
    working = [stage for stage in progress if progress[stage].phase != Phase.WAITING]
    guilty = [stage for stage in late if stage in working]
    if not working and len(late) == len(progress):  # else a message may be on its way
        guilty = late
    return max(guilty, key=lambda stage: (stopped(stage), over[stage]), default=None)


def is_stopped(pid: int) -> bool:
    """Say whether a process is stopped, as by SIGSTOP."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def hang(pid: int, progress: Progress, now_s: float) -> Failure:
    """Describe a stage that no longer comes forward."""
    what = "the process is stopped (SIGSTOP)" if is_stopped(pid) else "the process is still at it"
    return Failure(
        doing=progress.doing,
        reason=f"not done after {now_s - progress.since_s:.0f} s, and {what}; if it is only slow, allow more with "
        "--stall-timeout",
        at_s=progress.since_s,
    )


def waiting(progress: Progress) -> Failure:
    """Describe a stage that waits for one that has hung."""
    return Failure(doing=progress.doing, reason="still waiting", cause="neighbour", at_s=progress.since_s)


def death(code: int | None, doing: str, at_s: float) -> Failure:
    """Describe a stage whose process has ended without a word."""
    if code is not None and code < 0:
        signals = {number.value: number.name for number in signal.Signals}
        how = f"the process was ended by {signals.get(-code, f'signal {-code}')}"
        how += ", by hand or by the kernel because memory ran out" if -code == signal.SIGKILL else ""
    else:
        how = f"the process exited with {code}"
    if code == ORPHANED:
        return Failure(doing=doing, reason=f"{ORPHANS}; try again", cause="forkserver", at_s=at_s)
    if code == UNGUARDED:
        return Failure(doing=doing, reason=GUARD, cause="input", at_s=at_s)
    return Failure(doing=doing, reason=how, at_s=at_s)


def error_of(failures: Sequence[Failure]) -> RunError | InputError:
    """Return the error that tells of the first at fault; what is the user's or the forkserver's is no stage's."""
    first = first_of(failures)
    return (replace(first, who="") if first.cause in ALONE else first).error()


Watch = Callable[[Sequence[Progress]], None]
"""Called now and then with what every stage is doing."""
