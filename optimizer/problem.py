"""What is to be decided: costs, a number of stages, and what a split has to keep to."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from optimizer.costs import Costs
from optimizer.ideals import members_of
from optimizer.memory import Factors, factors, stage_bytes


@dataclass(frozen=True, slots=True)
class Problem:
    """Find ∅ = I₀ ⊂ I₁ ⊂ … ⊂ V, one ideal more than there are stages.

    Attributes:
        minibatches: Of a run; with fewer than stages, fewer are in flight.
        memory_limit_bytes: What each stage may take, or None.
        forced: Ideals that have to be among the cuts, ascending.
    """

    costs: Costs
    stages: int
    minibatches: int
    memory_limit_bytes: int | None = None
    forced: tuple[int, ...] = ()

    @property
    def factors(self) -> list[Factors]:
        """How often each stage holds each kind of bytes."""
        return [factors(stage, self.stages, self.minibatches, self.costs.momenta) for stage in range(self.stages)]

    @property
    def parts(self) -> list[tuple[int, int]]:
        """The costs' blocks; one behind a forced cut needs all that stands before that cut."""
        found = []
        for members, needs in self.costs.parts:
            whole = needs
            for ideal in self.forced:
                whole |= 0 if members & ideal else ideal
            found.append((members, whole))
        return found

    @property
    def simple_bound_ns(self) -> int:
        """max(total ÷ stages, largest block), updates as they are cheapest, which no split can fall below."""
        costs = self.costs
        least_ns = [work - max(0, saving) for work, saving in zip(costs.weight_ns, costs.saving_ns, strict=True)]
        parts_ns = [sum(least_ns[at] for at in members_of(members)) for members, _ in costs.parts]
        return max(-(-(sum(parts_ns) + self.costs.loss_ns) // self.stages), *parts_ns)

    def bottleneck_ns(self, bounds: Sequence[int]) -> int:
        """Return what the slowest stage of a split costs."""
        return max(map(self.costs.stage_ns, bounds, bounds[1:]))

    def memory_bytes(self, bounds: Sequence[int]) -> list[int]:
        """Return what each stage of a split needs."""
        return [
            stage_bytes(self.costs, factor, before, through)
            for factor, (before, through) in zip(self.factors, pairwise(bounds), strict=True)
        ]
