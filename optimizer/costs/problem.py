"""The problem of splitting a model: costs, a number of stages, and what a split has to keep to."""

from dataclasses import dataclass

from optimizer.costs.costs import Costs
from optimizer.costs.ideals import members_of
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
        """max(total ÷ stages, largest block), updates as they are cheapest, which no split can fall below."""
        least_ns = self.costs.least_ns
        parts_ns = [sum(least_ns[at] for at in members_of(members)) for members, _ in self.costs.parts]
        return max(-(-(sum(parts_ns) + self.costs.loss_ns) // self.stages), *parts_ns)
