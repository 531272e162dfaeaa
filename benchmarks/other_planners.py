"""Splits that other planners choose for the same costs: each written anew from its description.

- ``pipedream``: over the layers in captured order, the smallest slowest of the stages' forward + backward and of the
  transfers between them, which run beside the stages: A(j, m) = min over i of max(A(i, m − 1), transfer(i), T(i, j)).
  Narayanan et al., "PipeDream", SOSP 2019, section 3.1, with one worker a stage.
- ``pipedream-code``: what its published code computes: T alone, over all ideals of the graph (its "antichain states");
  transfers count only where activations are compressed. github.com/msr-fiddle/pipedream, optimizer_graph_hierarchical,
  with a straight pipeline.
- ``torchgpipe``: blocks of nearly equal forward + backward. Kim et al., "torchgpipe", 2020, section 3.
- ``uniform``: equal numbers of layers; ``parameters``: the smallest largest number of parameters. Both of DeepSpeed's
  PipelineModule (Rasley et al., KDD 2020), whose default is ``parameters``.

None of them counts the update or the copying that a stage does itself. A cut between layers that have to stay together
is moved to the nearest legal place, as those of schemes are; of equal choices the earliest is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np

from optimizer.errors import PartitionError
from optimizer.plan import Plan
from optimizer.planning.planner import Planner
from optimizer.planning.schemes import nearest_legal, scheme_cuts
from optimizer.search import StageTable, captured_order
from optimizer.search.dynamic_program import Matrices, smallest_behind
from optimizer.search.stage_table import NEVER


def other_plan(name: str, planner: Planner) -> Plan:
    """Return the plan that the planner called ``name`` would choose."""
    return PLANNERS[name](name, planner)


def _uniform(name: str, planner: Planner) -> Plan:
    return planner.in_captured_order(
        name, scheme_cuts((100,), len(planner.costs.layers), planner.legal_cuts, planner.stages)
    )


def _torchgpipe(name: str, planner: Planner) -> Plan:
    wanted = block_partition(_compute_ns(planner), planner.stages)
    return planner.in_captured_order(name, nearest_legal(wanted, planner.legal_cuts, planner.stages))


def _parameters(name: str, planner: Planner) -> Plan:
    return _balanced(name, planner, _in_captured_order(planner), [own.parameter_bytes for own in planner.costs.layers])


def _pipedream(name: str, planner: Planner) -> Plan:
    table = _in_captured_order(planner)
    costs = planner.costs
    transfer_ns = [sum(map(costs.sending_ns, costs.crossing_bytes(ideal))) for ideal in table.ideals]
    return _balanced(name, planner, table, _compute_ns(planner), transfer_ns)


def _pipedream_code(name: str, planner: Planner) -> Plan:
    table = StageTable(planner.free, planner.free_candidates.ideals)
    return _balanced(name, planner, table, _compute_ns(planner))


PLANNERS: Mapping[str, Callable[[str, Planner], Plan]] = {
    "pipedream": _pipedream,
    "pipedream-code": _pipedream_code,
    "torchgpipe": _torchgpipe,
    "uniform": _uniform,
    "parameters": _parameters,
}


def _compute_ns(planner: Planner) -> list[int]:
    """Return each layer's forward + backward; the loss runs behind the last layer."""
    costs = planner.costs
    compute_ns = [forward + backward for forward, backward in zip(costs.forward_ns, costs.backward_ns, strict=True)]
    compute_ns[-1] += costs.loss_ns
    return compute_ns


def _in_captured_order(planner: Planner) -> StageTable:
    return StageTable(planner.free, captured_order(planner.free).ideals)


def _balanced(
    name: str, planner: Planner, table: StageTable, weights: Sequence[int], beside: Sequence[int] = ()
) -> Plan:
    """Return the split whose largest stage by ``weights``, or cut by ``beside``, is smallest."""
    total = table.sums(weights)
    matrix = table.differences(total, total)
    if beside:
        matrix = np.maximum(matrix, np.array(beside)[:, None])
    places = first_smallest(lambda _stage: matrix, planner.stages)
    if places is None:
        raise PartitionError(f"{planner.stages} stages need more legal cuts than there are; use fewer --stages")
    return planner.unlimited(name, [table.ideals[at] for at in (0, *places, -1)])


def first_smallest(costs: Matrices, stages: int) -> list[int] | None:
    """Return, of the splits whose dearest stage is smallest, the one of the first candidates; None if there is none."""
    behind = smallest_behind(costs, stages)
    limit = behind[0][0]
    if limit >= NEVER:
        return None
    chain, here = [], 0
    for stage in range(stages - 1):
        here = int(np.flatnonzero((costs(stage)[here] <= limit) & (behind[stage + 1] <= limit))[0])
        chain.append(here)
    return chain


def block_partition(weights: Sequence[int], blocks: int) -> list[int]:
    """Return the cuts, ascending, as counts of elements before them.

    Weights are taken above the lightest element's, as torchgpipe takes them, so a block may be left without elements.

    Args:
        weights: What each element weighs; at least one.
        blocks: How many blocks, from 1 up.
    """
    lightest = min(weights)
    total = [0, *accumulate(weight - lightest for weight in weights)]
    heaviest = max(weights) - lightest
    ends = [0, *(len(weights) // blocks * block for block in range(1, blocks)), len(weights)]
    while True:
        sizes = _sizes(total, ends)
        largest = max(range(blocks), key=lambda block: (sizes[block], block))
        giver = None
        while giver != largest:
            smallest = min(range(blocks), key=sizes.__getitem__)
            if sizes[largest] <= sizes[smallest] + heaviest:
                return ends[1:-1]
            if largest < smallest:
                giver = smallest - 1
                ends[smallest] -= 1
            else:
                giver = smallest + 1
                ends[smallest + 1] += 1
            sizes = _sizes(total, ends)


def _sizes(total: Sequence[int], ends: Sequence[int]) -> list[int]:
    return [total[end] - total[start] for start, end in pairwise(ends)]
