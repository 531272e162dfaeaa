"""The partitions by name; the six hand-made schemes: shares of the layer count, which know nothing of costs.

With N layers in captured order, cut i of S stages is round(N · C(i / S)), where C is the cumulative share over
quarters, linear in between (so four stages use the shares as they stand), moved to the nearest legal cut, the earlier
one of two equally near, with every stage keeping at least one layer. Shares are exact fractions; ``round`` takes halves
to even.

Source: the schemes' names and words are the study's that this project starts from; the shares are fixed in
``configs/schemes.yaml``.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Annotated

from msgspec import Meta

from optimizer.errors import OptimizerError, PartitionError
from optimizer.plan import EXACT
from profiler.errors import suggest
from profiler.settings import configs_folder, convert, read_mapping

Share = Annotated[int, Meta(ge=0, le=100)]
Schemes = Mapping[str, tuple[int, ...]]
OPTIMIZED = "optimized"
SLICED = "sliced"
"""The best split of the model with layers cut inside."""
LOWERED = "bf16"
"""The best split in bfloat16, where that is faster."""
STUDY = "study"
"""The cuts that were tuned by hand, as ``configs/hand-tuned.yaml`` has them."""
ALL = "all"


def load_schemes() -> Schemes:
    """Return the schemes of ``configs/schemes.yaml``: a name and its shares, front to back, which make 100%."""
    entries = read_mapping(configs_folder() / "schemes.yaml")
    return {name: convert(entry, tuple[Share, ...], name) for name, entry in entries.items()}


def scheme_cuts(shares: Sequence[int], layers: int, legal: Sequence[int], stages: int) -> list[int]:
    """Return the cuts as counts of layers before them.

    Args:
        shares: Per cent of the layers, front to back.
        layers: Number of layers.
        legal: Where a cut may stand, ascending, 0 and ``layers`` left out.
        stages: Number of stages.
    """
    targets = [round(layers * _cumulative(shares, Fraction(cut, stages))) for cut in range(1, stages)]
    return nearest_legal(targets, legal, stages)


def nearest_legal(targets: Sequence[int], legal: Sequence[int], stages: int) -> list[int]:
    """Return the legal cuts nearest to ``targets``, from the first on, the earlier of two equally near."""
    if len(legal) < stages - 1:
        raise PartitionError(
            f"{stages} stages need {stages - 1} cuts and the captured order has {len(legal)} legal ones; "
            f"use --stages {len(legal) + 1} or fewer"
        )
    chosen: list[int] = []
    first = 0
    for cut, target in enumerate(targets, 1):
        candidates = range(first, len(legal) - (stages - 1 - cut))
        place = min(candidates, key=lambda index: (abs(legal[index] - target), legal[index]))
        chosen.append(legal[place])
        first = place + 1
    return chosen


def _cumulative(shares: Sequence[int], at: Fraction) -> Fraction:
    """Return the share of the layers in the first ``at`` of the pipeline, 0 ≤ at < 1."""
    position = at * len(shares)
    whole = int(position)
    return Fraction(sum(shares[:whole]), 100) + (position - whole) * Fraction(shares[whole], 100)


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
