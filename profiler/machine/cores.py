"""Choose the cores that processes are pinned to."""

import os
from collections.abc import Sequence
from pathlib import Path

from profiler.errors import ProcessError
from profiler.machine.machine import affinity_variables


def usable_cores(wanted: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the cores to use: ``wanted``, or all that this process may use, one thread of each physical core first.

    Raises:
        ProcessError: A wanted core may not be used, or is named twice.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if not wanted:
        first = {physical_core(core): core for core in reversed(allowed)}
        return tuple(sorted(allowed, key=lambda core: (first[physical_core(core)] != core, core)))
    if twice := [core for core in wanted if wanted.count(core) > 1]:
        given, distinct = (",".join(map(str, cores)) for cores in (wanted, dict.fromkeys(wanted)))
        raise ProcessError(f"--cores {given} names core {twice[0]} more than once; write --cores {distinct}")
    refused = [core for core in wanted if core not in allowed]
    if refused:
        listed = ",".join(map(str, allowed))
        bound = affinity_variables()
        cause = f"; the environment binds threads to cores{bound}" if bound else ""
        raise ProcessError(f"this process may not use core {refused[0]}; it may use --cores {listed}{cause}")
    return tuple(wanted)


def neighbouring_cores(usable: Sequence[int], stages: int, neighbours: int | None = None) -> tuple[int, ...]:
    """Return the core to measure on and those of its neighbours: as many as are busy when ``stages`` run.

    Args:
        usable: The cores that may be used.
        stages: How many stages are planned for.
        neighbours: How many neighbours are wanted, if it is not one for each other stage that has a physical core.

    Raises:
        ProcessError: There are not so many cores.
    """
    if neighbours is None:
        first = {physical_core(core): core for core in reversed(usable)}
        return tuple(core for core in usable if first[physical_core(core)] == core)[:stages]
    if neighbours >= len(usable):
        raise ProcessError(
            f"{neighbours} neighbours and the core that is measured need {neighbours + 1} cores and this process may "
            f"use {len(usable)}; use --neighbours {len(usable) - 1} or fewer"
        )
    return tuple(usable[: neighbours + 1])


def physical_core(core: int) -> tuple[str, str]:
    """Return the package and core that a processor number belongs to; itself where the kernel does not say."""
    folder = Path(f"/sys/devices/system/cpu/cpu{core}/topology")
    try:
        package, number = ((folder / name).read_text().strip() for name in ("physical_package_id", "core_id"))
    except OSError:
        return "", str(core)
    return package, number
