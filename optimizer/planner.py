"""From a profile to a plan: the best split, or the split of a scheme, with what it is predicted to give."""

from collections.abc import Sequence
from functools import cached_property

from optimizer.costs import NANOSECONDS, Costs, costs_of
from optimizer.errors import PartitionError
from optimizer.ideals import members_of, prefixes
from optimizer.schedule import depth, one_forward_one_backward
from optimizer.schemes import scheme_cuts
from optimizer.simulate import Duration, makespan_s, simulate, throughput
from optimizer.solve import Solution, solve
from optimizer.types import Plan, Prediction, Stage
from profiler.files import digest, to_json
from profiler.types import Profile


class Planner:
    """Plans for one profile and number of stages; what they share is worked out once."""

    def __init__(self, profile: Profile, stages: int, minibatches: int) -> None:
        """Prepare to plan.

        Args:
            profile: What the layers cost.
            stages: Number of stages.
            minibatches: How many the predictions are for.

        Raises:
            ProfileError: The profile contradicts itself.
            PartitionError: There are more stages than parts that a cut may separate.
        """
        self.profile, self.stages, self.minibatches = profile, stages, minibatches
        self.costs: Costs = costs_of(profile)
        most = len(self.costs.parts)
        if stages > most:
            raise PartitionError(
                f"{profile.model} cannot be cut into {stages} stages: it has {most} parts that a cut may separate; "
                f"use --stages {most} or fewer"
            )
        self._profile_digest = digest(to_json(profile))

    def optimized(self) -> Plan:
        """Return the best split over all legal cuts.

        A graph with more ideals than ``lattice.LIMIT`` is searched over the cuts in captured order only; then the plan
        says that it is not proven optimal, and its lower bound is max(total ÷ stages, largest block).

        Raises:
            PartitionError: There are not as many legal cuts as the stages need.
        """
        return self._plan("exact" if self._best.proven else "captured-order", self._best.bounds)

    def scheme(self, name: str, shares: Sequence[int]) -> Plan:
        """Return the split of a scheme.

        Raises:
            PartitionError: There are not as many legal cuts as the stages need.
        """
        count = len(self.costs.layers)
        legal = [ideal.bit_count() for ideal in prefixes(self.costs.parts, count)][1:-1]
        cuts = scheme_cuts(shares, count, legal, self.stages)
        return self._plan(name, [(1 << cut) - 1 for cut in (0, *cuts, count)])

    @cached_property
    def _best(self) -> Solution:
        found = solve(self.costs, self.stages)
        if found is None:
            raise PartitionError(f"{self.profile.model} cannot be cut into {self.stages} stages; use fewer --stages")
        return found

    def _bottleneck_ns(self, bounds: Sequence[int]) -> int:
        return max(map(self.costs.stage_ns, bounds, bounds[1:]))

    def _plan(self, method: str, bounds: Sequence[int]) -> Plan:
        stages = tuple(self._stage(index, bounds) for index in range(self.stages))
        profile = self.profile
        bottleneck_ns, lower_ns = self._bottleneck_ns(bounds), self._best.lower_bound_ns
        return Plan(
            model=profile.model,
            model_digest=profile.model_digest,
            batch_size=profile.batch_size,
            input_shape=profile.input_shape,
            vocabulary=profile.vocabulary,
            profile_digest=self._profile_digest,
            num_stages=self.stages,
            method=method,
            schedule="1f1b",
            stages=stages,
            bottleneck_s=bottleneck_ns / NANOSECONDS,
            predicted=predict(stages, profile.batch_size, self.minibatches),
            optimal=bottleneck_ns == lower_ns,
            lower_bound_s=lower_ns / NANOSECONDS,
        )

    def _stage(self, index: int, bounds: Sequence[int]) -> Stage:
        before, through = bounds[index], bounds[index + 1]
        costs, members = self.costs, members_of(through & ~before)
        last = index == self.stages - 1
        forward_ns = sum(costs.forward_ns[at] for at in members) + (costs.loss_forward_ns if last else 0)
        backward_ns = sum(costs.backward_ns[at] for at in members) + (costs.loss_backward_ns if last else 0)
        down, up = costs.crossing(through), costs.crossing(before)
        send_forward_ns = sum(value.copy_output_ns for value in down)
        send_backward_ns = sum(value.copy_gradient_ns for value in up)
        return Stage(
            layers=tuple(costs.layers[at].name for at in members),
            compute_s=(forward_ns + backward_ns) / NANOSECONDS,
            forward_s=forward_ns / NANOSECONDS,
            backward_s=backward_ns / NANOSECONDS,
            update_s=sum(costs.update_ns[at] for at in members) / NANOSECONDS,
            send_s=(send_forward_ns + send_backward_ns) / NANOSECONDS,
            send_forward_s=send_forward_ns / NANOSECONDS,
            send_backward_s=send_backward_ns / NANOSECONDS,
            receive_s=0.0,
            send_bytes=sum(value.output_bytes for value in down) + sum(value.gradient_bytes for value in up),
            boundary=tuple(value.name for value in down),
            memory_bytes=self._memory_bytes(index, bounds),
            flops=sum(costs.layers[at].flops for at in members),
        )

    def _memory_bytes(self, index: int, bounds: Sequence[int]) -> int:
        """Return weights × versions + gradients + momentum + saved × in flight + slots + the largest transient."""
        before, through = bounds[index], bounds[index + 1]
        layers = [self.costs.layers[position] for position in members_of(through & ~before)]
        ahead = depth(index, self.stages, self.minibatches)
        learning = sum(layer.learning_bytes for layer in layers)
        frozen = sum(layer.parameter_bytes for layer in layers) - learning
        copies = ahead + (2 if self.profile.momentum else 1)
        slots = 0
        if index > 0:
            slots += self.costs.cut_bytes(before) * depth(index - 1, self.stages, self.minibatches)
        if index < self.stages - 1:
            slots += self.costs.cut_bytes(through) * ahead
        transient = max(layer.transient_bytes for layer in layers)
        return frozen + learning * copies + sum(layer.saved_bytes for layer in layers) * ahead + slots + transient


def predict(stages: Sequence[Stage], batch_size: int, minibatches: int) -> Prediction:
    """Simulate 1F1B for ``minibatches`` minibatches."""
    durations = [
        Duration(stage.forward_s + stage.send_forward_s, stage.backward_s + stage.send_backward_s, stage.update_s)
        for stage in stages
    ]
    spans = simulate(one_forward_one_backward(len(stages), minibatches), durations)
    return Prediction(
        minibatches=minibatches,
        throughput_samples_per_s=throughput(spans, batch_size),
        makespan_s=makespan_s(spans),
    )
