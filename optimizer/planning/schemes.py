"""The six hand-made schemes: shares of the layer count, which know nothing of what a layer costs.

With N layers in captured order, cut i of S stages is round(N · C(i / S)), where C is the cumulative share over
quarters, linear in between (so four stages use the shares as they stand), moved to the nearest legal cut, the earlier
one of two equally near, with every stage keeping at least one layer. Shares are exact fractions; ``round`` takes halves
to even.

Source: the schemes' names and words are the study's that this project starts from; the shares are fixed in
``configs/schemes.yaml``.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated

from msgspec import Meta

from optimizer.errors import PartitionError
from profiler.settings import configs_folder, convert, read_mapping

Share = Annotated[int, Meta(ge=0, le=100)]
Schemes = Mapping[str, tuple[int, ...]]


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
