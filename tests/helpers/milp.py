"""The planning problem as a mixed-integer programme for HiGHS, written from the problem statement.

y[v, s] is 1 where layer v stands in stage s or before; a value crosses cut s where its maker does and some reader does
not.
"""

from dataclasses import dataclass, field

import networkx as nx
import numpy as np
from brute_force import ahead, in_flight, slots, work_ns
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array

from optimizer.costs import copy_ns
from optimizer.schedule import PLAIN_1F1B, Pace
from profiler.profile import INPUT, Profile

UNIT = 1e-3
"""Times stand in the programme in microseconds."""


@dataclass
class Programme:
    """Variables, all from 0 to ``upper``, and rows ``low ≤ Σ coefficient · variable ≤ high``."""

    upper: list[float] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    rows: list[tuple[dict[int, float], float, float]] = field(default_factory=list)

    def variable(self, *, whole: bool, upper: float = np.inf) -> int:
        self.upper.append(upper)
        self.whole.append(int(whole))
        return len(self.upper) - 1

    def row(self, terms: list[tuple[int, float]], low: float, high: float = np.inf) -> None:
        summed: dict[int, float] = {}
        for variable, coefficient in terms:
            summed[variable] = summed.get(variable, 0.0) + coefficient
        self.rows.append((summed, low, high))

    def smallest(self, objective: dict[int, float]) -> float | None:
        cells = [(r, v, c) for r, (terms, _, _) in enumerate(self.rows) for v, c in terms.items()]
        row, column, value = zip(*cells, strict=True)
        matrix = coo_array((value, (row, column)), shape=(len(self.rows), len(self.upper)))
        weights = np.zeros(len(self.upper))
        for variable, weight in objective.items():
            weights[variable] = weight
        found = [self._solved(weights, matrix.tocsr(), presolve=presolve) for presolve in (True, False)]
        return min((value for value in found if value is not None), default=None)

    def _solved(
        self,
        weights: "np.ndarray[tuple[int], np.dtype[np.float64]]",
        matrix: "csr_array[np.float64]",
        *,
        presolve: bool,
    ) -> float | None:
        """What HiGHS finds, with presolve or without: either way it has lost an optimum (13040 for 12990)."""
        result = milp(
            weights,
            integrality=np.array(self.whole),
            bounds=Bounds(0, self.upper),
            constraints=LinearConstraint(matrix, [low for _, low, _ in self.rows], [high for _, _, high in self.rows]),
            options={"mip_rel_gap": 0.0, "presolve": presolve},
        )
        assert result.status in {0, 2}, result.message
        return float(result.fun) if result.status == 0 else None


def optimum(  # noqa: PLR0917 - a question with limits
    profile: Profile,
    stages: int,
    minibatches: int,
    limit: int | None = None,
    forced: tuple[str, ...] = (),
    pace: Pace = PLAIN_1F1B,
) -> tuple[int, int] | None:
    """The smallest bottleneck in whole microseconds and the fewest bytes sent with it, or None if there is no split."""
    problem = Formulation(profile, stages, pace)
    if limit is not None:
        problem.limit_memory(minibatches, limit)
    if forced:
        problem.force(forced)
    smallest = problem.programme.smallest({problem.bottleneck: 1.0})
    if smallest is None:
        return None
    problem.programme.row([(problem.bottleneck, 1)], 0, round(smallest) + 0.25)
    sent = {variable: float(sum(problem.sizes[value])) for value, row in problem.crossing.items() for variable in row}
    fewest = problem.programme.smallest(sent)
    assert fewest is not None
    return round(smallest), round(fewest)


class Formulation:
    """Variables and rows of every split into ``stages`` stages, its boundaries and its bottleneck."""

    def __init__(self, profile: Profile, stages: int, pace: Pace) -> None:
        self.profile, self.stages, self.pace = profile, stages, pace
        self.programme = Programme()
        self.sizes = {layer.name: (layer.output_bytes, layer.gradient_bytes) for layer in profile.layers}
        self.sizes[INPUT] = (profile.input_bytes, 0)
        names = [layer.name for layer in profile.layers]
        self.y = {name: [self.programme.variable(whole=True, upper=1) for _ in range(stages)] for name in names}
        self.bottleneck = self.programme.variable(whole=False)
        self._flow()
        self.crossing = {value: self._crossing(value) for value in self.sizes}
        for stage in range(stages):
            self._stage(stage)

    def _flow(self) -> None:
        for row in self.y.values():
            self.programme.row([(row[-1], 1)], 1)
            for stage in range(1, self.stages):
                self.programme.row([(row[stage], 1), (row[stage - 1], -1)], 0)
        for stage in range(self.stages):
            for edge in self.profile.edges:
                if edge.source != INPUT:
                    self.programme.row([(self.y[edge.source][stage], 1), (self.y[edge.target][stage], -1)], 0)
            for first, *others in self.profile.inseparable:
                for other in others:
                    self.programme.row([(self.y[first][stage], 1), (self.y[other][stage], -1)], 0, 0)

    def _crossing(self, value: str) -> list[int]:
        found = [self.programme.variable(whole=False, upper=1) for _ in range(self.stages - 1)]
        readers = [e.target for e in self.profile.edges if e.source == value and e.kind == "data"]
        for cut, variable in enumerate(found):
            made = [] if value == INPUT else [(self.y[value][cut], -1.0)]
            for reader in readers:
                self.programme.row([(variable, 1), *made, (self.y[reader][cut], 1)], 1 if value == INPUT else 0)
            if value in self.profile.outputs:
                self.programme.row([(variable, 1), *made], 0)
        return found

    def _in_stage(self, name: str, stage: int, weight: float) -> list[tuple[int, float]]:
        """The terms of ``weight`` · [layer is in ``stage``]."""
        return [(self.y[name][stage], weight), *([(self.y[name][stage - 1], -weight)] if stage else [])]

    def _stage(self, stage: int) -> None:
        self.programme.row([term for name in self.y for term in self._in_stage(name, stage, 1.0)], 1)
        terms = [(self.bottleneck, 1.0)]
        for layer in self.profile.layers:
            work = work_ns(layer, self.pace, last=stage == self.stages - 1)
            terms += self._in_stage(layer.name, stage, -work * UNIT)
        for value, row in self.crossing.items():
            down, up = (copy_ns(self.profile.copy_cost, size) * UNIT for size in self.sizes[value])
            terms += [(row[stage], -down)] if stage < self.stages - 1 else []
            terms += [(row[stage - 1], -up)] if stage else []
        loss = (round(self.profile.loss.forward_s * 1e9) + round(self.profile.loss.backward_s * 1e9)) * UNIT
        self.programme.row(terms, loss if stage == self.stages - 1 else 0)

    def limit_memory(self, minibatches: int, limit: int) -> None:
        """No stage holds more than ``limit`` bytes."""
        before, held = (count(self.stages, minibatches, self.pace) for count in (ahead, in_flight))
        room, momentum = slots(self.stages, minibatches, self.pace), self.profile.momenta
        for stage in range(self.stages):
            terms = []
            for layer in self.profile.layers:
                versions = held[stage] if self.pace.name == "1f1b" else 1
                own = layer.parameter_bytes + layer.learning_bytes * (versions + momentum)
                own += (layer.saved_bytes - layer.cast_bytes) * before[stage] + layer.cast_bytes * versions
                own += layer.left_bytes * (held[stage] - before[stage])
                terms += self._in_stage(layer.name, stage, own)
            for value, row in self.crossing.items():
                for cut in {stage - 1, stage} & set(range(self.stages - 1)):
                    down, up = (size * slot for size, slot in zip(self.sizes[value], room[cut], strict=True))
                    terms += [(row[cut], float(down + up))]
            self.programme.row(terms, 0, limit)

    def force(self, names: tuple[str, ...]) -> None:
        """One of the cuts stands directly behind ``names``: all that they need is before it, and nothing else."""
        graph: nx.DiGraph[str] = nx.DiGraph((e.source, e.target) for e in self.profile.edges if e.source != INPUT)
        graph.add_nodes_from(self.y)
        for group in self.profile.inseparable:
            nx.add_cycle(graph, group)
        before = {one for name in names for one in nx.ancestors(graph, name) | {name}}
        here = [self.programme.variable(whole=True, upper=1) for _ in range(self.stages - 1)]
        self.programme.row([(variable, 1) for variable in here], 1, 1)
        for cut, variable in enumerate(here):
            for name, row in self.y.items():
                if name in before:
                    self.programme.row([(row[cut], 1), (variable, -1)], 0)
                else:
                    self.programme.row([(row[cut], 1), (variable, 1)], -np.inf, 1)
