"""Cuts that the user forces, as ideals: what stands before them.

``names`` stand for the smallest ideal that holds them: what they need, and nothing more. An ideal and the set of its
maximal layers (an antichain) determine each other, so every legal cut can be named this way; ``names_of`` does.
"""

from collections.abc import Sequence
from itertools import pairwise

from optimizer.costs.costs import Costs
from optimizer.costs.ideals import last_of, members_of
from optimizer.errors import PartitionError
from profiler.commands import command
from profiler.errors import suggest


def forced_cuts(costs: Costs, cuts: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Return the ideals behind which the user wants cuts, ascending."""
    ideals = sorted({cut_behind(costs, names) for names in cuts}, key=int.bit_count)
    for inner, outer in pairwise(ideals):
        if inner & ~outer:
            first, other = (", ".join(names_of(costs, ideal)) for ideal in (inner, outer))
            raise PartitionError(
                f"cuts behind {first} and behind {other} exclude each other, for neither stands before the other; "
                "leave one --cut-after out"
            )
    return tuple(ideals)


def cut_behind(costs: Costs, names: Sequence[str]) -> int:
    """Return the smallest ideal that holds the layers called ``names``."""
    position_of = {layer.name: at for at, layer in enumerate(costs.layers)}
    ideal = 0
    for name in names:
        if name not in position_of:
            raise PartitionError(
                f"there is no layer '{name}'{suggest(name, position_of)}; see {command('profile')} for all"
            )
        at = position_of[name]
        members = next(members for members, _ in costs.parts if members >> at & 1)
        if last_of(members) != at:
            raise PartitionError(
                f"no legal cut stands behind {name}, for it cannot be separated from "
                f"{costs.layers[last_of(members)].name}; use --cut-after {costs.layers[last_of(members)].name}"
            )
        ideal |= members
    ideal = _closed(costs, ideal)
    if ideal == costs.everything:
        raise PartitionError(f"nothing is left behind {', '.join(names)}; name another layer with --cut-after")
    return ideal


def names_of(costs: Costs, ideal: int) -> list[str]:
    """Return the maximal layers of ``ideal`` in captured order: the cut stands directly behind them."""
    needed = 0
    inside = [(members, needs) for members, needs in costs.parts if members & ideal]
    for _, needs in inside:
        needed |= needs
    return [costs.layers[last_of(members)].name for members, _ in inside if not members & needed]


def _closed(costs: Costs, layers: int) -> int:
    """Return the smallest ideal that holds ``layers``, a union of blocks."""
    home = {at: part for part in costs.parts for at in members_of(part[0])}
    ideal, open_ = 0, layers
    while open_:
        members, needs = home[last_of(open_)]
        ideal |= members
        open_ = (open_ | needs) & ~ideal
    return ideal
