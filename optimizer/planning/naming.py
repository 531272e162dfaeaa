"""The names of partitions and of methods: ``optimized``, ``sliced``, ``bf16``, the schemes, ``all``, ``study``."""

from collections.abc import Iterable, Mapping

from optimizer.errors import OptimizerError, PartitionError
from optimizer.plan import EXACT
from optimizer.planning.schemes import Schemes
from profiler.errors import suggest

OPTIMIZED = "optimized"
SLICED = "sliced"
"""The best split of the model with layers cut inside."""
LOWERED = "bf16"
"""The best split in bfloat16, where that is faster."""
STUDY = "study"
"""The cuts that were tuned by hand, as ``configs/hand-tuned.yaml`` has them."""
ALL = "all"


def partition_of(method: str, schemes: Schemes) -> str:
    """Return the partition that a method of planning makes."""
    methods = {EXACT: OPTIMIZED} | {name: name for name in schemes}
    if method not in methods:
        raise OptimizerError(f"there is no method '{method}'{suggest(method, methods)}; known: {', '.join(methods)}")
    return methods[method]


def refuse_limits(method: str, limits: Mapping[str, object]) -> None:
    """Refuse what only the best split can have, by the flags that say it, together with another method."""
    for flag in (flag for flag, value in limits.items() if value and method != EXACT):
        raise OptimizerError(f"{flag} is of the best split and --method {method} of another; leave one out")


def partition_names(wanted: Iterable[str], schemes: Schemes) -> list[str]:
    """Return the names with ``all`` spelled out, each once."""
    single = [OPTIMIZED, SLICED, LOWERED, *schemes]
    names: dict[str, None] = {}
    for name in wanted:
        if name not in (*single, STUDY, ALL):
            every = [*single, STUDY, ALL]
            raise PartitionError(f"there is no partition '{name}'{suggest(name, every)}; known: {', '.join(every)}")
        names |= dict.fromkeys(single if name == ALL else [name])
    return list(names)
