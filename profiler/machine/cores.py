"""Choose the cores that processes are pinned to."""

import os
from collections.abc import Sequence
from pathlib import Path

from profiler.errors import ProcessError


def usable_cores(wanted: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the cores to use: ``wanted``, or all that this process may use, one thread of each physical core first."""
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
        raise ProcessError(f"this process may not use core {refused[0]}; it may use --cores {listed}")
    return tuple(wanted)


def neighbouring_cores(usable: Sequence[int], stages: int) -> tuple[int, ...]:
    """Return the core to measure on and those of its neighbours: one for each other stage that has a physical core."""
    first = {physical_core(core): core for core in reversed(usable)}
    return tuple(core for core in usable if first[physical_core(core)] == core)[:stages]


def physical_core(core: int) -> tuple[str, str]:
    """Return the package and core that a processor number belongs to; itself where the kernel does not say."""
    folder = Path(f"/sys/devices/system/cpu/cpu{core}/topology")
    try:
        package, number = ((folder / name).read_text().strip() for name in ("physical_package_id", "core_id"))
    except OSError:
        return "", str(core)
    return package, number
