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
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from optimizer.errors import PartitionError
from profiler.errors import ConfigError, suggest
from profiler.settings import configs_folder, convert, read_mapping

Share = Annotated[int, Meta(ge=0, le=100)]
Schemes = Mapping[str, tuple[int, ...]]


def load_schemes(path: Path | None = None) -> Schemes:
    """Read schemes from YAML, ours or a file's: a name and its shares, front to back, which have to make 100%."""
    entries = read_mapping(path or configs_folder() / "schemes.yaml")
    schemes = {}
    for name, entry in entries.items():
        shares: tuple[int, ...] = convert(entry, tuple[Share, ...], name)
        if sum(shares) != 100:
            raise ConfigError(f"{entry.place}: the shares of '{name}' add up to {sum(shares)}; they have to make 100")
        schemes[name] = shares
    return schemes


def shares_of(name: str, schemes: Schemes) -> tuple[int, ...]:
    """Return the shares of scheme ``name``."""
    if name not in schemes:
        raise PartitionError(f"there is no scheme '{name}'{suggest(name, schemes)}; known: {', '.join(schemes)}")
    return schemes[name]


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
