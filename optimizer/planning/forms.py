"""Decide in which forms a model is planned for: which layers are cut inside, and in which precision they run.

Both are decided by the exact search's answer for each form, under all limits that the plan is to keep. What is asked
for by name is taken; of ``auto``, what gains 2% in the slowest stage, and still does as unsteady as stages are: a gain
that noise eats is none. Where another precision gains, the model is planned for in both, each with the cuts inside
layers that serve it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from optimizer.errors import PartitionError
from optimizer.plan import Plan
from optimizer.planning.naming import LOWERED, OPTIMIZED, SLICED
from optimizer.planning.planner import Planner
from optimizer.planning.precision_choice import PrecisionChoice, choose_precision, faster, why_full
from optimizer.planning.slicing_choice import SlicingChoice, choose_slicing, even_share_s, gains, measured, why_whole
from optimizer.planning.wanted_form import FormRequest
from optimizer.schedule import Pace
from profiler.profile import (
    AUTO,
    BF16,
    BF16_FORM,
    PLAIN_FORM,
    Form,
    Layer,
    ModelCosts,
    Pieces,
    Precision,
    Profile,
    SlicedLayer,
    Slicing,
)

Blocks = Sequence[SlicedLayer]
MeasureBlocks = Callable[[Precision, Sequence[tuple[Layer, Pieces]]], Blocks]
"""Measures layers in blocks of so many features each, in a precision; not all where time is short."""


class PlannerFor(Protocol):
    """Makes what plans for a model in a form, under all limits; with forced cuts, if any."""

    def __call__(self, model: ModelCosts, /, *, cut_after: Sequence[Sequence[str]] = ()) -> Planner:
        """Return what plans for the model, with a cut directly behind each group of layers in ``cut_after``."""


@dataclass(frozen=True, slots=True)
class Forms:
    """What plans for a model in each form that is worth it, and why not in others.

    Attributes:
        whole: All layers whole, in float32 or the precision that is asked for; ``sliced``, with layers cut inside.
        lowered: In a precision that is faster, with layers cut inside where that pays.
        slicing: How ``sliced`` was chosen; None where nobody asked. Likewise ``lowered_slicing``.
        precision: How ``lowered`` was chosen; None where nobody asked.
    """

    whole: Planner
    sliced: Planner | None = None
    lowered: Planner | None = None
    slicing: SlicingChoice | None = None
    lowered_slicing: SlicingChoice | None = None
    precision: PrecisionChoice | None = None

    @property
    def best(self) -> Planner:
        """What plans for the best form."""
        return self.lowered or self.sliced or self.whole

    @property
    def best_name(self) -> str:
        """The partition that is the best form's best split."""
        return LOWERED if self.lowered else SLICED if self.sliced else OPTIMIZED

    def sliced_plan(self) -> Plan:
        """Return the best split of the model with layers cut inside."""
        if self.sliced is None:
            raise PartitionError(why_whole(self.slicing) if self.slicing else "no layer is cut inside")
        return self.sliced.optimized()

    def lowered_plan(self) -> Plan:
        """Return the best split in a precision that is faster, with layers cut inside where that pays."""
        if self.lowered is None:
            raise PartitionError(why_full(self.precision) if self.precision else "no other precision was measured")
        return self.lowered.optimized()


def forms_of(
    profile: Profile,
    planner_for: PlannerFor,
    request: FormRequest,
    *,
    stages: int,
    pace: Pace,
    measure: MeasureBlocks | None = None,
) -> Forms:
    """Return what plans for a model in the forms that are asked for, and those that are found to be faster.

    Args:
        profile: As it was measured.
        planner_for: Makes planners, under all limits that the plan is to keep.
        request: What is asked for.
        stages: How many stages there are to be.
        pace: The schedule that is planned for.
        measure: Measures blocks that the profile does not know; None: what it does not know stays whole.
    """
    decision = _Decision(planner_for, request, stages, pace, measure)
    full = (BF16_FORM if request.precision == BF16 else PLAIN_FORM).precision
    tried = choose_precision(profile, decision.reachable_s, pace) if request.precision == AUTO else None
    slicing, whole, sliced = decision.settled(profile, full)
    if tried is None or not tried.precision.lowered:
        return Forms(whole, sliced, slicing=slicing, precision=tried)
    known = slicing.profile if slicing else profile
    lower_slicing, lower_whole, lower_sliced = decision.settled(known, tried.precision)
    lower = lower_sliced or lower_whole
    verdict = faster(tried.precision, (sliced or whole).expected_s, lower.expected_s)
    if not verdict.precision.lowered:
        return Forms(whole, sliced, slicing=slicing, precision=verdict)
    return Forms(whole, sliced, lower, slicing, lower_slicing, verdict)


@dataclass(frozen=True, slots=True)
class _Decision:
    """What is decided with: as the arguments of ``forms_of``, and the planners of whole layers, each made once."""

    planner_for: PlannerFor
    request: FormRequest
    stages: int
    pace: Pace
    measure: MeasureBlocks | None
    whole: dict[Precision, Planner] = field(default_factory=dict)

    def planner(self, model: ModelCosts) -> Planner:
        """Return what plans for a model without forced cuts."""
        if model.form.slicing:
            return self.planner_for(model)
        precision = model.form.precision
        if precision not in self.whole:
            self.whole[precision] = self.planner_for(model)
        return self.whole[precision]

    def forced(self, model: ModelCosts) -> Planner:
        """Return what plans for a model with the forced cuts, if there are any."""
        cut_after = self.request.cut_after
        return self.planner_for(model, cut_after=cut_after) if cut_after else self.planner(model)

    def reachable_s(self, model: ModelCosts) -> float | None:
        """Return how fast the slowest stage may become in a precision.

        Cuts inside layers come near an even share, so where they may be, that tells which precision is worth trying.
        """
        if self.request.slicing == AUTO and self.stages > 1 and (self.measure or model.profile.blocks):
            return even_share_s(model, self.stages, self.pace)
        return self.forced(model).bottleneck_s

    def settled(self, profile: Profile, precision: Precision) -> tuple[SlicingChoice | None, Planner, Planner | None]:
        """Return how layers are cut inside in a precision, and what plans with all whole and with those cut.

        A choice that does not gain enough as unsteady as stages are is taken back.
        """
        choice = self.slicing(profile, precision)
        whole, sliced = self.planners(profile, precision, choice)
        if not choice or not sliced or self.request.slicing != AUTO:
            return choice, whole, sliced
        slow_s, fast_s = whole.expected_s, sliced.expected_s
        if fast_s is not None and gains(slow_s, fast_s):
            return replace(choice, gain=None if slow_s is None else slow_s / fast_s - 1), whole, sliced
        choice = replace(choice, slicing=PLAIN_FORM.slicing, gain=0.0, why_whole="no gain")
        return choice, *self.planners(profile, precision, choice)

    def slicing(self, profile: Profile, precision: Precision) -> SlicingChoice | None:
        """Return which layers are cut inside in a precision; None where nobody asked."""

        def blocks(wanted: Sequence[tuple[Layer, Pieces]]) -> Blocks:
            return self.measure(precision, wanted) if self.measure else ()

        def bottleneck_s(model: ModelCosts) -> float | None:
            return self.planner(model).bottleneck_s

        wanted = self.request.slicing
        if not wanted or self.stages == 1:
            return None
        if wanted == AUTO and profile.loud:
            return SlicingChoice(profile, PLAIN_FORM.slicing, 0.0, "too loud")
        if wanted == AUTO:
            return choose_slicing(profile, self.stages, bottleneck_s, blocks, self.pace, precision=precision)
        slicing = Slicing(wanted)
        return SlicingChoice(measured(profile, slicing.pieces, blocks, precision), slicing, None)

    def planners(
        self, profile: Profile, precision: Precision, choice: SlicingChoice | None
    ) -> tuple[Planner, Planner | None]:
        """Return what plans for the model with its layers whole, and what plans with those of ``choice`` cut inside.

        Without a choice, or where it cuts none, the second is None. Forced cuts bind the second, or else the first.
        """
        known, slicing = (choice.profile, choice.slicing) if choice else (profile, PLAIN_FORM.slicing)
        whole = known.costs(Form(precision=precision))
        if not slicing:
            return self.forced(whole), None
        return self.planner(whole), self.forced(known.costs(Form(slicing, precision)))
