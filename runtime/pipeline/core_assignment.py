"""Give each stage a core, choose the clock, and say what it means where several stages share a core."""

from collections.abc import Sequence

from profiler.machine import physical_core
from profiler.report import counted
from runtime.results import ChannelName, Clock

FOREIGN_LOAD_LIMIT = 0.05
"""From this share of a core's time on, the clock tells of others."""


def core_count(cores: Sequence[int]) -> int:
    """Return how many physical cores these are; two threads of one core are not two cores."""
    return len({physical_core(core) for core in cores})


def own_cores(cores: Sequence[int]) -> bool:
    """Say whether every stage has a physical core of its own."""
    return core_count(cores) == len(cores)


def default_clock(cores: Sequence[int], channel: ChannelName) -> Clock:
    """Return the clock of stages on ``cores``: the virtual one where they share some and can take turns."""
    return "wall" if own_cores(cores) or channel != "shm" else "virtual"


def cores_for(stages: int, usable: Sequence[int]) -> tuple[int, ...]:
    """Give every stage a core, sharing them in turn where there are too few."""
    return tuple(usable[stage % len(usable)] for stage in range(stages))


def sharing(stages: int, cores: int) -> str:
    """Say what it means that stages share cores on the wall clock."""
    return (
        "NOT COMPARABLE: timings between splits mean little here, and predictions do not apply: "
        f"{stages} stages shared {counted(cores, 'core')}, and predictions assume one core per stage. Use --stages "
        f"{cores}, a machine with {stages} cores, or, in shared memory on one machine, --clock virtual."
    )


def noisy(core: int, foreign_load: float) -> str:
    """Say what it means that a core worked for others; nothing where that was too little to matter."""
    if foreign_load <= FOREIGN_LOAD_LIMIT:
        return ""
    return (
        f"NOISY: figures may be off by up to {foreign_load:.0%}: core {core} worked for others {foreign_load:.0%} of "
        "the time; end what else runs there, or choose other cores, and measure again."
    )


def taking_turns(stages: int, cores: int) -> str:
    """Say what the virtual clock tells, and what it leaves out."""
    if stages <= cores:
        return (
            "Virtual clock: what each action took is measured, and when it would have run is worked out, waits for "
            "neighbours included. Left out: what lies between two actions of a stage."
        )
    return (
        f"Virtual clock: {stages} stages took turns on {counted(cores, 'core')}, one action at a time; what each "
        f"action took is measured, and when it would have run with {counted(stages, 'core')} is worked out. Left out: "
        f"stages that are busy at once slow each other down, here at most {cores} of them, and what lies between two "
        "actions of a stage."
    )
