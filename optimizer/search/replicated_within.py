"""Find the split of the smallest bottleneck with replicated stages (``replicated``) that keeps a limit on memory.

What a rank holds depends on how many minibatches it has in flight, and these on the replicas of all stages behind it
(``optimizer.schedule.layout``). So every way to share R ranks out to stages is searched by itself, 2^(R−1) of them,
with versions, minibatches and slots as the schedule for these replicas asks for them:

    best(I, s) = min over J ⊂ I with memory(J, I, s) ≤ limit of max( best(J, s − 1), cut(J, s − 1), stage(J, I, s) ),

exact over all splits and replicas: O(2^R · R · |ideals|²). Ties go to the way that is found first, with fewer replicas
in the first stages.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from optimizer.costs import Network, Problem
from optimizer.errors import InfeasibleError, OptimizerError
from optimizer.schedule import ASYNCHRONOUS, requirements_of, schedule_of
from optimizer.search.lattice import Integers, Lattice
from optimizer.search.over_links import UNREACHABLE
from optimizer.search.replicated import Replicated, ReplicatedTables
from optimizer.search.stage_costs import held_bytes, largest_transients
from optimizer.search.why_infeasible import MEBIBYTE, mib

MOST_RANKS = 8
ENOUGH = 8
"""What a schedule asks for does not grow with more than so many minibatches for each rank."""


def best_replicated_within(
    problem: Problem, network: Network, lattice: Lattice, limit_bytes: int, model: str
) -> Replicated:
    """Return the split of the smallest bottleneck that has several ranks in some stage and keeps the limit on each.

    Args:
        problem: What layers cost; how many stages it has does not matter.
        network: At least two ranks.
        lattice: The ideals to cut behind.
        limit_bytes: What a rank may take.
        model: What to call it in messages.

    Raises:
        InfeasibleError: None keeps it.
        OptimizerError: There are too many ranks to try every way.
    """
    if network.size > MOST_RANKS:
        raise OptimizerError(
            f"--memory-limit beside --replicate tries every way to share out the ranks, of which there may be "
            f"{MOST_RANKS}, and the links are of {network.size}; leave out one of the two"
        )
    tables, memory = ReplicatedTables(problem, network, lattice), _Memory(problem, lattice)
    best, least_bytes = None, int(UNREACHABLE)
    for replicas in (one for one in shares(network.size) if max(one) > 1):
        needed = memory.needed(replicas)
        firsts = [sum(replicas[:stage]) for stage in range(len(replicas))]
        stages = [tables.stage(first, own) for first, own in zip(firsts, replicas, strict=True)]
        cuts = [tables.cut(firsts[cut], *replicas[cut - 1 : cut + 1]) for cut in range(1, len(replicas))]
        pairs = list(zip(needed, stages, strict=True))
        time, places = _smallest([np.where(each <= limit_bytes, stage, UNREACHABLE) for each, stage in pairs], cuts)
        if time < UNREACHABLE and (best is None or time < best[0]):
            best = time, replicas, places
        if best is None:
            legal = [np.where(stage < UNREACHABLE, each, UNREACHABLE) for each, stage in pairs]
            least_bytes = min(least_bytes, _smallest(legal, [np.zeros_like(cut) for cut in cuts])[0])
    if best is None:
        raise InfeasibleError(
            f"no split of {model} over {network.size} ranks with replicas fits into {limit_bytes / MEBIBYTE:.1f} MiB a "
            f"rank; use --memory-limit {mib(least_bytes)} or more, or a smaller --batch-size"
        )
    time, replicas, places = best
    return Replicated(tuple(lattice.ideals[at] for at in places), replicas, Fraction(time, tables.scale))


def shares(ranks: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to share out ranks to stages: the replicas of each."""
    if not ranks:
        yield ()
    for first in range(1, ranks + 1):
        yield from ((first, *rest) for rest in shares(ranks - first))


def _smallest(stages: Sequence[Integers], cuts: Sequence[Integers]) -> tuple[int, list[int]]:
    """Return the smallest maximum of a chain's stages ``[J, I]`` and cuts ``[I]``, and the places of its ideals."""
    reached, origins = stages[0][0], []
    for stage, cut in zip(stages[1:], cuts, strict=True):
        ways = np.maximum(np.maximum(reached, cut)[:, None], stage)
        origins.append(ways.argmin(axis=0))
        reached = ways.min(axis=0)
    places = [len(reached) - 1]
    for origin in reversed(origins):
        places.append(int(origin[places[-1]]))
    return int(reached[-1]), [0, *reversed(places)]


class _Memory:
    """What a rank of each stage holds, by pair of ideals ``[J, I]``; without meaning where J ⊂ I is not."""

    def __init__(self, problem: Problem, lattice: Lattice) -> None:
        self._problem, self._held = problem, held_bytes(problem, lattice)
        everything = np.arange(len(lattice))
        self._transients = largest_transients(problem, lattice, everything, everything)
        self._crossing = np.array([problem.crossing_bytes(ideal) for ideal in lattice.ideals], dtype=np.int64)

    def needed(self, replicas: Sequence[int]) -> list[Integers]:
        """Return what a rank of each stage needs, averaging its gradients included."""
        problem = self._problem
        minibatches = min(problem.minibatches, ENOUGH * sum(replicas))
        schedule = schedule_of(ASYNCHRONOUS, tuple(replicas), minibatches)
        found, before = [], np.zeros(len(self._held), dtype=np.int64)
        for own, wanted in zip(replicas, requirements_of(schedule), strict=True):
            learning = wanted.versions + 1 + problem.costs.momenta + (2 if own > 1 else 0)
            whole = self._held @ np.array([1, learning, wanted.in_flight, wanted.versions])
            behind = self._crossing @ np.array([wanted.activation_slots, wanted.gradient_slots])
            found.append((whole + behind)[None, :] - (whole - before)[:, None] + self._transients)
            before = behind
        return found
