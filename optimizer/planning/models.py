"""Decide which models to plan for: the model as it is, with layers cut inside, in bfloat16.

Each is a runnable model with a profile of its own. What is asked for by name is taken. Of ``auto``: where the best
split is far from even, the layers in its way are cut where an even split would cut them, and that model is profiled;
and where bfloat16 is worth a profile, it is planned for in that precision, too, with the cuts inside layers that
serve it. Another model is taken if its promise is better by ``LEAST_GAIN`` and by more than the profiles leave open.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer.errors import PartitionError
from optimizer.plan import Plan
from optimizer.planning.even_cuts import even_share_s, even_slicing
from optimizer.planning.planner import Planner
from optimizer.planning.schemes import LOWERED, OPTIMIZED, SLICED
from profiler.commands import again
from profiler.errors import ConfigError
from profiler.profile import (
    AUTO,
    BF16,
    BF16_FORM,
    FP32,
    NONE,
    Form,
    PrecisionName,
    Profile,
    Slicing,
    slicing_named,
    typed_for,
)

LEAST_GAIN = 0.02
"""By which share of a promise another model has to pay."""
CUTTING_COSTS = 0.1
"""Of an even stage, what cuts inside layers cost at the least: where a split is so near to even, none are tried."""
ProfileOf = Callable[[Form], Profile | None]
"""Returns the profile of the model in a form, which may take its time; None where that is not worth it."""
PlannerFor = Callable[..., Planner]
"""Makes what plans for a profile, under all limits; with forced cuts, if any, as ``Planner`` takes ``cut_after``."""
_WHOLE, _FULL = "no layer is cut inside, for", f"layers run in {FP32}, for"
_TOO_LOUD = "the machine was too loud to tell whether"
_NOT_LOWERED = f"{_FULL} what {BF16} would give was not profiled"
_NO_GAIN = f"{_WHOLE} that gains less than the profiles leave open"
_NOT_PROFILED = f"{_WHOLE} what that would give was not profiled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """The models that are wanted.

    Attributes:
        cut_after: Forced cuts of the plan, which are cuts of the model that it comes to be for.
    """

    slicing: Slicing = AUTO
    precision: PrecisionName = AUTO
    cut_after: Sequence[Sequence[str]] = ()


def model_request(
    slicing: str, precision: PrecisionName, *, cut_after: Sequence[Sequence[str]] = (), plain_only: str = ""
) -> ModelRequest:
    """Return the models that are asked for, as far as they can be had.

    Args:
        slicing: ``auto``, ``none``, or layers with their blocks.
        precision: As it is asked for.
        cut_after: Forced cuts; they name whole layers, unless the slicing names layers, too.
        plain_only: What knows whole layers in float32 only, such as ``--method end-load``; nothing where all else does.
    """
    wanted = slicing_named(slicing)
    if plain_only and names_layers(slicing):
        raise ConfigError(
            f"{plain_only} knows whole layers only, and --slice {slicing} cuts some inside; leave one out"
        )
    if plain_only or (cut_after and wanted == AUTO):
        wanted = ""
    if plain_only and precision == AUTO:
        precision = FP32
    return ModelRequest(slicing=wanted, precision=precision, cut_after=cut_after)


def names_layers(slicing: str) -> bool:
    """Say whether a text that asks for a slicing names layers."""
    return slicing not in {AUTO, NONE}


def cut_named(text: str) -> tuple[str, ...]:
    """Return the layers directly behind which a cut is forced: ``layer2.0.add``, or ``a,b`` behind several branches."""
    layers = tuple(part.strip() for part in text.split(","))
    if not all(layers):
        raise ConfigError(f"'{text}' is not a list of layers such as layer1.2.relu,layer2.0.conv1")
    return layers


@dataclass(frozen=True, slots=True)
class Models:
    """What plans for each model that is worth it, and why not for others.

    Attributes:
        whole: All layers whole, in float32 or the precision that is asked for; ``sliced``, with layers cut inside.
        lowered: In bfloat16 where that is faster, with layers cut inside where that pays; ``lowered_whole``, without.
        why_whole: Why no layer is cut inside, in words; nothing where one is, or where nobody asked.
        why_full: Likewise, why not in bfloat16.
    """

    whole: Planner
    sliced: Planner | None = None
    lowered: Planner | None = None
    lowered_whole: Planner | None = None
    why_whole: str = ""
    why_full: str = ""

    @property
    def best(self) -> Planner:
        """What plans for the best model."""
        return self.lowered or self.sliced or self.whole

    @property
    def alone(self) -> Profile:
        """What one core runs: all layers whole, in the faster precision."""
        return (self.lowered_whole if self.lowered and self.lowered_whole else self.whole).profile

    @property
    def best_name(self) -> str:
        """The partition that is the best model's best split."""
        return LOWERED if self.lowered else SLICED if self.sliced else OPTIMIZED

    def sliced_plan(self) -> Plan:
        """Return the best split of the model with layers cut inside."""
        if self.sliced is None:
            raise PartitionError(self.why_whole or _NOT_PROFILED)
        return self.sliced.optimized()

    def lowered_plan(self) -> Plan:
        """Return the best split in bfloat16, with layers cut inside where that pays."""
        if self.lowered is None:
            raise PartitionError(self.why_full or _NOT_LOWERED)
        return self.lowered.optimized()


def models_of(
    profile: Profile,
    planner_for: PlannerFor,
    request: ModelRequest,
    profile_of: ProfileOf = lambda _form: None,
) -> Models:
    """Return what plans for the models that are asked for, and those that are found to be faster.

    Args:
        profile: Of the model as it is, or in bfloat16 where that is asked for.
        planner_for: Makes planners, under all limits that the plan is to keep.
        request: What is asked for.
        profile_of: Gives profiles of other forms; without, there are none.
    """
    choice = _Choice(planner_for, request, profile_of)
    whole, sliced, why = choice.settled(profile)
    if request.precision != AUTO or profile.form.lowered:
        return Models(whole, sliced, why_whole=why)
    full, lower = sliced or whole, None if profile.loud else profile_of(BF16_FORM)
    if lower is None:
        return Models(
            whole, sliced, why_whole=why, why_full=f"{_FULL} {_TOO_LOUD} another pays" if profile.loud else _NOT_LOWERED
        )
    lower_whole, lower_sliced, _ = choice.settled(lower)
    best = lower_sliced or lower_whole
    if not gains(full, best):
        why_full = f"{_FULL} the best split in {BF16} gains less than the profiles leave open"
        return Models(whole, sliced, why_whole=why, why_full=why_full)
    return Models(whole, sliced, best, lower_whole, why_whole=why)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is decided with, as the arguments of ``models_of``."""

    planner_for: PlannerFor
    request: ModelRequest
    profile_of: ProfileOf

    def forced(self, profile: Profile) -> Planner:
        """Return what plans for a profile with the forced cuts, if there are any."""
        return self.planner_for(profile, cut_after=self.request.cut_after)

    def settled(self, profile: Profile) -> tuple[Planner, Planner | None, str]:
        """Return what plans for the model with layers whole, and with layers cut inside, or why not.

        Forced cuts bind the latter, or else the former.
        """
        wanted = self.request.slicing
        if not wanted or profile.slicing:
            return self.forced(profile), None, ""
        if wanted == AUTO:
            whole = self.forced(profile)
            return whole, *self.sliced(whole)
        named = self.profile_of(Form(wanted, profile.precision))
        if named is None and self.request.precision == AUTO and profile.form.lowered:
            return self.planner_for(profile), None, _NOT_PROFILED
        if named is None:
            cut = typed_for(profile.typed, Form(wanted, profile.precision))
            raise ConfigError(
                f"the profile is of {profile.model} with its layers whole, and --slice {wanted} cuts some inside; plan "
                f"for the profile that comes of {again('profile', cut)}"
            )
        return self.planner_for(profile), self.forced(named), ""

    def sliced(self, whole: Planner) -> tuple[Planner | None, str]:
        """Return what plans for the model with layers cut where an even split would cut them, or why none is."""
        if whole.stages == 1:
            return None, ""
        if whole.profile.loud:
            return None, f"{_WHOLE} {_TOO_LOUD} that pays"
        near_s = (1 + CUTTING_COSTS) * even_share_s(whole.costs, whole.stages)
        if whole.bottleneck_s is not None and whole.bottleneck_s <= near_s:
            return None, f"{_WHOLE} the split is within {CUTTING_COSTS:.0%} of even, and such cuts cost more"
        slicing = even_slicing(whole.costs, whole.stages)
        if not slicing:
            return None, f"{_WHOLE} no layer that can be cut is in the way of an even split"
        cut = self.profile_of(Form(slicing, whole.profile.precision))
        if cut is None:
            return None, _NOT_PROFILED
        sliced = self.planner_for(cut)
        return (sliced, "") if gains(whole, sliced) else (None, _NO_GAIN)


def gains(slow: Planner, fast: Planner) -> bool:
    """Say whether another model is worth it, by what is promised; of one that keeps no limits, nothing is."""
    if fast.expected_s is None or slow.expected_s is None:
        return fast.expected_s is not None
    open_ = max(LEAST_GAIN, slow.profile.uncertainty, fast.profile.uncertainty)
    return slow.expected_s >= (1 + open_) * fast.expected_s
