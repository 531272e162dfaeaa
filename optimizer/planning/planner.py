"""From a profile to plans: the best split, the splits of the schemes, each with what it is predicted to give."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from optimizer.costs import (
    NANOSECONDS,
    Costs,
    Problem,
    Rounds,
    costs_of,
    forced_cuts,
    prefixes,
)
from optimizer.errors import PartitionError, ProfileError
from optimizer.plan import BOUNDED, EXACT, Plan
from optimizer.planning.assemble_plan import plan_of
from optimizer.planning.schemes import scheme_cuts
from optimizer.schedule import PLAIN_1F1B, Pace
from optimizer.search import Candidates, Solution, candidates_of, solve, why_none
from profiler.errors import ConfigError
from profiler.profile import CopyCost, Profile
from profiler.report import counted

MOST_LAYERS = 4_000
"""What stages cost is a matrix with a row and a column for each candidate."""


LEAST_MBIT_PER_S, MOST_MS = 0.01, 10_000


def link_of(mbit_per_s: float, latency_ms: float) -> CopyCost:
    """Return what sending costs over a network of so many Mbit/s, latency in milliseconds."""
    if not (LEAST_MBIT_PER_S <= mbit_per_s < math.inf and 0 <= latency_ms <= MOST_MS):
        raise ConfigError(
            f"no network has {mbit_per_s} Mbit/s and {latency_ms} ms; a speed from {LEAST_MBIT_PER_S} on is wanted"
        )
    return CopyCost(latency_s=latency_ms / 1e3, s_per_byte=8e-6 / mbit_per_s)


class Planner:
    """Plans for a runnable model and a number of stages; what the plans share is worked out once."""

    def __init__(
        self,
        profile: Profile,
        stages: int,
        minibatches: int,
        *,
        pace: Pace = PLAIN_1F1B,
        memory_limit_bytes: int | None = None,
        cut_after: Sequence[Sequence[str]] = (),
        link: CopyCost | None = None,
    ) -> None:
        """Check the profile, and fix what all its plans have in common.

        Args:
            profile: What its layers cost.
            stages: Number of stages.
            minibatches: How many the predictions are for.
            pace: The schedule that they are for, and that the best split is searched for.
            memory_limit_bytes: What each stage of the best split may take.
            cut_after: The layers directly behind which the best split has to have a cut, a group for each cut.
            link: What sending costs where stages are on several hosts; None: what copying cost when it was profiled.
        """
        self._link = link
        if link:  # then each stage has a machine of its own
            profile = replace(profile, copy_cost=link, neighbours=0)
        self.profile, self.stages, self.minibatches = profile, stages, minibatches
        if len(profile.layers) > MOST_LAYERS:
            raise ProfileError(
                f"{profile.model} has {len(profile.layers)} layers, and at most {MOST_LAYERS} can be planned for; "
                "build it of larger ones"
            )
        pace = replace(pace, meets=profile.bounds_norm and pace.rule.synchronous)
        self.costs: Costs = costs_of(profile, pace)
        most = len(self.costs.parts)
        if stages > most:
            fewer = " or fewer" if most > 1 else ""
            raise PartitionError(
                f"{profile.model} cannot be cut into {stages} stages: it has {counted(most, 'part')} that a cut may "
                f"separate; use --stages {most}{fewer}"
            )
        forced = forced_cuts(self.costs, cut_after)
        if len(forced) >= stages:
            raise PartitionError(
                f"{len(forced)} forced cuts need {len(forced) + 1} stages; use --stages {len(forced) + 1} or more, or "
                "fewer --cut-after"
            )
        self.free = Problem(self.costs, stages, minibatches)
        self._limited = replace(self.free, memory_limit_bytes=memory_limit_bytes, forced=forced)

    @cached_property
    def candidates(self) -> Candidates:
        """What the best split may be cut at."""
        return candidates_of(self._limited)

    @cached_property
    def problem(self) -> Problem:
        """What the best split solves.

        Where backwards are split, a limit on memory is kept by holding fewer minibatches, too: as many, from as many as
        there are stages on, as promise the most.
        """
        limited, pace = self._limited, self.costs.pace
        if limited.memory_limit_bytes is None or not pace.rule.splits:
            return limited
        choices = [
            replace(limited, costs=replace(self.costs, pace=replace(pace, held=held)))
            for held in range(pace.held, min(pace.held, self.stages) - 1, -1)
        ]
        fitting = [(choice, solve(choice, self.candidates)) for choice in choices]
        plans = [(choice, self._plan(EXACT, choice, found.bounds, found)) for choice, found in fitting if found]
        return max(plans, key=lambda pair: pair[1].predicted.throughput_samples_per_s, default=(choices[-1], None))[0]

    @cached_property
    def best(self) -> Solution:
        """The best split that keeps to the limits."""
        return self._solved(self.problem, self.candidates)

    @property
    def bottleneck_s(self) -> float | None:
        """The slowest stage of the best split; None where no split keeps to the limits."""
        try:
            return self.best.bottleneck_ns / NANOSECONDS
        except PartitionError:
            return None

    @cached_property
    def expected_s(self) -> float | None:
        """What the slowest stage of the best split is expected to hold the others up; None where no split keeps limits.

        As unsteady as stages are, and as busy as their neighbours are then.
        """
        try:
            plan = self.optimized()
        except PartitionError:
            return None
        slowest_s = max(stage.total_s * stage.ease for stage in plan.stages)
        promised = plan.predicted.promised_samples_per_s
        return slowest_s * plan.predicted.throughput_samples_per_s / promised if promised else slowest_s

    def optimized(self) -> Plan:
        """Return the best split over all legal cuts.

        Where the graph has too many of them, the plan gives a lower bound.
        """
        return self._optimized

    def scheme(self, name: str, shares: Sequence[int]) -> Plan:
        """Return the split of a scheme, which knows nothing of limits."""
        count = len(self.costs.layers)
        return self.in_captured_order(name, scheme_cuts(shares, count, self.legal_cuts, self.stages))

    @property
    def legal_cuts(self) -> list[int]:
        """The legal cuts in captured order, as counts of layers before them."""
        return [ideal.bit_count() for ideal in prefixes(self.costs.parts, len(self.costs.layers))][1:-1]

    def in_captured_order(self, method: str, cuts: Sequence[int]) -> Plan:
        """Return the plan with the given cuts, as counts of layers before them."""
        return self.unlimited(method, [(1 << cut) - 1 for cut in (0, *cuts, len(self.costs.layers))])

    def unlimited(self, method: str, bounds: Sequence[int]) -> Plan:
        """Return the plan of a split, as if no limits were set."""
        return self._plan(method, self.free, bounds, self._best_of_all)

    @cached_property
    def free_candidates(self) -> Candidates:
        """What a split may be cut at where nothing is forced."""
        return candidates_of(self.free) if self.problem.forced else self.candidates

    @cached_property
    def _optimized(self) -> Plan:
        proven = self.best.bottleneck_ns == self.best.lower_bound_ns
        return self._plan(EXACT if proven else BOUNDED, self.problem, self.best.bounds, self.best)

    @cached_property
    def _best_of_all(self) -> Solution:
        return self.best if self.problem == self.free else self._solved(self.free, self.free_candidates)

    @cached_property
    def _rounds(self) -> Rounds:
        return Rounds(self.profile)

    def _plan(self, method: str, problem: Problem, bounds: Sequence[int], best: Solution) -> Plan:
        return plan_of(self.profile, problem, bounds, best, method=method, rounds=self._rounds, link=self._link)

    def _solved(self, problem: Problem, candidates: Candidates) -> Solution:
        solution = solve(problem, candidates)
        if solution is None:
            raise why_none(problem, candidates, self.profile.model)
        return solution
