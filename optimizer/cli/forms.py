"""Plan for a model in the form that is asked for: in which precision its layers run, and which are cut inside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.cli.precision import lowered_as
from optimizer.cli.slicing import Sliced, sliced_as
from optimizer.planning import LOWERED, SLICED
from optimizer.schedule import Pace
from profiler.files import to_json, write_whole
from profiler.profile import Profile, SlicedLayer
from profiler.settings import Config

if TYPE_CHECKING:
    from optimizer.planning import Planner


@dataclass(frozen=True, slots=True)
class Prepared:
    """What plans, and the form it was given.

    Attributes:
        gains: What was chosen of precision and slices, in sentences without a full stop.
        reasons: Why nothing was, likewise.
    """

    planner: "Planner"
    gains: tuple[str, ...]
    reasons: tuple[str, ...]


def planner_in_form(
    config: Config,
    profile: Profile,
    plan_for: "Callable[..., Planner]",
    core: int,
    kept: Path | None,
    *,
    pace: Pace,
    cut_after: Sequence[Sequence[str]] = (),
    names: Sequence[str] = (LOWERED,),
    quiet: bool,
) -> Prepared:
    """Return what plans for a profile, with what plans for it in a faster precision and with layers cut inside.

    Args:
        config: What the profile is of, and which form is asked for.
        profile: As it was measured.
        plan_for: Makes a planner of a profile, under all limits that the plan is to keep.
        core: Where blocks are measured.
        kept: Where the profile is kept, with what is measured now; None where nothing can be measured.
        pace: The schedule that is planned for.
        cut_after: Forced cuts of the plan.
        names: The partitions that are wanted: of those in float32, layers are cut inside if ``sliced`` is among them,
            or no other precision is found.
        quiet: Whether to show no progress.

    Raises:
        ProfileError: The profile contradicts itself.
        ConfigError: The form cannot be had, or was not measured and cannot be.
    """
    found = [profile]

    def keep(blocks: Sequence[SlicedLayer]) -> None:
        """Keep blocks with the profile as it was measured."""
        assert kept is not None
        new = tuple(own for own in blocks if own not in found[0].blocks)
        found[0] = replace(found[0], blocks=(*found[0].blocks, *new))
        write_whole(kept, to_json(found[0]))

    def bottleneck_s(tried: Profile) -> float | None:
        return plan_for(tried).bottleneck_s

    def cut(own: Profile) -> Sliced:
        stages = plan_for(own).stages
        return sliced_as(config, own, bottleneck_s, core, keep if kept else None, stages=stages, pace=pace, quiet=quiet)

    lowered = lowered_as(config, profile, bottleneck_s, pace)
    lower = None
    said = [(lowered.lower is not None, lowered.sentence)]
    if lowered.lower is not None:
        sliced = cut(lowered.lower)
        lower = _planner(sliced, plan_for, cut_after)
        said.append((sliced.inside is not None, sliced.sentence))
    wanted = SLICED in names or lower is None
    sliced = cut(lowered.full) if wanted else Sliced(lowered.full, None, "")
    own = partial(plan_for, lower=lower, why_full=lowered.sentence)
    said.append((sliced.inside is not None, sliced.sentence))
    gains, reasons = (tuple(text for chosen, text in said if text and chosen is kind) for kind in (True, False))
    return Prepared(_planner(sliced, own, cut_after), gains, reasons)


def _planner(sliced: Sliced, plan_for: "Callable[..., Planner]", cut_after: Sequence[Sequence[str]]) -> "Planner":
    forced: dict[str, Any] = {"cut_after": cut_after} if cut_after else {}
    if sliced.inside:
        return plan_for(sliced.whole, inside=plan_for(sliced.inside, **forced))
    return plan_for(sliced.whole, why_whole=sliced.sentence, **forced)
