"""The problem of splitting a model: costs, a number of stages, and what a split has to keep to."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from optimizer.costs.costs import Costs
from optimizer.costs.ideals import members_of
from optimizer.costs.network import Network
from optimizer.schedule import Factors, Schedule, factors


@dataclass(frozen=True, slots=True)
class Problem:
    """Find ∅ = I₀ ⊂ I₁ ⊂ … ⊂ V, one ideal more than there are stages.

    Attributes:
        minibatches: Of a run; with fewer than stages, fewer are in flight.
        forced: Ideals that have to be among the cuts, ascending.
    """

    costs: Costs
    stages: int
    minibatches: int
    memory_limit_bytes: int | None = None
    forced: tuple[int, ...] = ()
    network: Network | None = None

    @property
    def factors(self) -> list[Factors]:
        """How often each stage holds each kind of bytes."""
        schedule = Schedule(self.costs.pace, self.stages, self.minibatches)
        return [factors(schedule, stage, self.costs.momenta) for stage in range(self.stages)]

    @property
    def parts(self) -> list[tuple[int, int]]:
        """The costs' blocks; one behind a forced cut needs all that stands before that cut."""
        pairs = []
        for members, needs in self.costs.parts:
            whole = needs
            for ideal in self.forced:
                whole |= 0 if members & ideal else ideal
            pairs.append((members, whole))
        return pairs

    @property
    def simple_bound_ns(self) -> int:
        """max(total ÷ stages, largest block), updates as they are cheapest, which no split can fall below.

        Ranks count as so many cores of the profile's kind as their speeds add up to, less what rounding may have taken.
        """
        costs = self.costs
        least_ns = costs.least_ns
        parts_ns = [sum(least_ns[at] for at in members_of(members)) for members, _ in costs.parts]
        if self.network:
            factors = self.network.factors
            even_ns = sum(parts_ns) / sum(1 / factor for factor in factors)
            return max(0, int(max(even_ns, max(parts_ns) * min(factors))) - 4 * len(costs.layers))
        return max(-(-(sum(parts_ns) + self.costs.loss_ns) // self.stages), *parts_ns)

    def bottleneck_ns(self, bounds: Sequence[int]) -> int:
        """Return what the slowest stage of a split costs, over a network with the messages that it sends."""
        return max(self.stage_ns(stage, *ends) for stage, ends in enumerate(pairwise(bounds)))

    def stage_ns(self, stage: int, before: int, through: int) -> int:
        """Return what a stage between two ideals costs."""
        down_ns, up_ns = self.messages_ns(stage, through)[0], self.messages_ns(stage - 1, before)[1]
        return self.costs_at(stage).stage_ns(before, through) + down_ns + up_ns

    def costs_at(self, stage: int) -> Costs:
        """Return what layers cost where a stage runs."""
        return self.network.costs_at(stage, self.costs) if self.network else self.costs

    def messages_ns(self, cut: int, ideal: int) -> tuple[int, int]:
        """Return what the messages of a minibatch behind an ideal take, down and up; nothing in shared memory."""
        if self.network is None or ideal in (0, self.costs.everything):
            return 0, 0
        return self.network.messages_ns(cut, *self.crossing_bytes(ideal))

    def crossing_bytes(self, ideal: int) -> tuple[int, int]:
        """Return the bytes that cross behind an ideal, down and up."""
        crossing = self.costs.crossing(ideal)
        return sum(value.output_bytes for value in crossing), sum(value.gradient_bytes for value in crossing)

    def memory_bytes(self, bounds: Sequence[int]) -> list[int]:
        """Return what each stage of a split needs."""
        return [
            self.stage_bytes(factor, before, through)
            for factor, (before, through) in zip(self.factors, pairwise(bounds), strict=True)
        ]

    def stage_bytes(self, factor: Factors, before: int, through: int) -> int:
        """Return memory(J, I, s) for J = ``before`` and I = ``through``."""
        costs = self.costs
        layers = [costs.layers[at] for at in members_of(through & ~before)]
        held = factor.held_bytes(
            sum(layer.parameter_bytes - layer.learning_bytes for layer in layers),
            sum(layer.learning_bytes for layer in layers),
            sum(layer.saved_bytes for layer in layers),
            sum(layer.left_bytes for layer in layers),
            sum(layer.cast_bytes for layer in layers),
        )
        slots = factor.before_bytes(*self.crossing_bytes(before)) + factor.behind_bytes(*self.crossing_bytes(through))
        return held + slots + max(layer.transient_bytes for layer in layers) + costs.heap_bytes
