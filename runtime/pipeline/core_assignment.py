"""Give each stage a core, and say what it means where several share one."""

from collections.abc import Sequence

from profiler.machine import physical_core


def comparable(cores: Sequence[int]) -> bool:
    """Say whether every stage had a physical core of its own; two threads of one core are not two cores."""
    return len({physical_core(core) for core in cores}) == len(cores)


def cores_for(stages: int, usable: Sequence[int]) -> tuple[int, ...]:
    """Give every stage a core, sharing them in turn where there are too few."""
    return tuple(usable[stage % len(usable)] for stage in range(stages))


def sharing(stages: int, cores: int) -> str:
    """Say that stages share cores and what that means."""
    shared = "1 core" if cores == 1 else f"{cores} cores"
    return (
        f"NOT COMPARABLE: {stages} stages shared {shared}, so timings between splits mean little; predictions assume "
        f"one core per stage, so they do not apply here. Use --stages {cores}, or a machine with {stages} cores."
    )
