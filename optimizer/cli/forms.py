"""Plan for a model in the form that is asked for: in which precision its layers run, and which are cut inside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.cli.precision import precisions_of, verdict
from optimizer.cli.slicing import AUTO, Sliced, sliced_as
from optimizer.planning import LOWERED, SLICED, even_share_s
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
    stages: int,
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
        stages: How many stages there are to be.
        pace: The schedule that is planned for.
        cut_after: Forced cuts of the plan.
        names: The partitions that are wanted; without ``sliced``, nothing is said of what is cut in float32 where
            another precision is faster.
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

    def forced_s(tried: Profile) -> float | None:
        return plan_for(tried, cut_after=cut_after).bottleneck_s if cut_after else bottleneck_s(tried)

    def even_s(tried: Profile) -> float | None:
        return even_share_s(tried, stages, pace)

    def cut(own: Profile) -> Sliced:
        return sliced_as(config, own, bottleneck_s, core, keep if kept else None, stages=stages, pace=pace, quiet=quiet)

    # Cuts inside layers come near an even share, so where they may be, that tells which precision is worth trying.
    reachable = even_s if config.slice == AUTO and stages > 1 else forced_s
    full, lower, why_full = precisions_of(config, profile, reachable, pace)
    gains: list[str] = []
    sliced, reasons = cut(full), [why_full]
    planner, lower_planner = _planner(sliced, plan_for, cut_after), None
    if lower:
        lower_sliced = cut(lower)
        lower_planner = _planner(lower_sliced, plan_for, cut_after)
        slowest_s = planner.best_bottleneck_s, lower_planner.best_bottleneck_s
        chosen, sentence = verdict(lower.precision, len(lower.layers), *slowest_s)
        (gains if chosen else reasons).append(sentence)
        if chosen:
            (gains if lower_sliced.inside else reasons).append(lower_sliced.sentence)
        else:
            lower_planner, why_full = None, sentence
    if lower_planner is None or SLICED in names:
        (gains if sliced.inside else reasons).append(sliced.sentence)
    planner.lower, planner.why_full = lower_planner, why_full
    return Prepared(planner, tuple(filter(None, gains)), tuple(filter(None, reasons)))


def _planner(sliced: Sliced, plan_for: "Callable[..., Planner]", cut_after: Sequence[Sequence[str]]) -> "Planner":
    forced: dict[str, Any] = {"cut_after": cut_after} if cut_after else {}
    if sliced.inside:
        return plan_for(sliced.whole, inside=plan_for(sliced.inside, **forced))
    return plan_for(sliced.whole, why_whole=sliced.sentence, **forced)
