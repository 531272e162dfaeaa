"""Plan the partitions that are named for a configuration, from profiles that are kept or measured now."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import optimizer.planning
import optimizer.report
import profiler.capture
from optimizer.plan import Plan
from optimizer.planning import (
    LOWERED,
    OPTIMIZED,
    SLICED,
    Schemes,
    model_request,
    names_layers,
    partition_names,
)
from optimizer.schedule import Pace, refuse_long
from profiler.cli import fresh_profile, note_anyway
from profiler.errors import ConfigError, ProfilerError
from profiler.profile import AUTO, BF16, BF16_FORM, FP32, NONE, PLAIN_FORM, Form, Profile
from profiler.settings import Config

if TYPE_CHECKING:
    from optimizer.planning import Models, ProfileOf


QUICK_BUDGET_S = 3.0
"""How long a quick profile measures."""


def planned_models(
    config: Config,
    pace: Pace,
    names: Sequence[str],
    report: Callable[[str], None],
    *,
    budget_s: float | None = None,
    quick: bool = False,
) -> "Models":
    """Return what plans ``config``, from the kept profile or one that is measured now, in short if ``quick``.

    Args:
        config: The model, batch size and stages.
        pace: The schedule that is planned for.
        names: The partitions that are wanted; layers are cut inside if ``sliced`` or ``bf16`` is among them.
        report: Told what was chosen of precision, and what was cut inside, if anything.
        budget_s: How long to measure a profile, where none is kept that fits; None: until a plan is known.
        quick: Whether a profile of few rounds will do.
    """
    if config.data:
        profiler.capture.find(config.data)  # before anything is measured
    if quick:
        folder = str(Path(config.profiles) / "quick")
        config = replace(config, profiles=folder, typed=(*config.typed, "--profiles", folder))
    budget_s = budget_s or (QUICK_BUDGET_S if quick else None)
    slicing = config.slice if {SLICED, LOWERED} & set(names) else NONE
    precision = config.precision
    if precision == AUTO and LOWERED not in names:
        precision = FP32
        report(f"{config.name}: layers run in {FP32}: of --precision {AUTO}, only the partition {LOWERED} chooses, "
               f"which is not among {', '.join(names)}; name it, too.")  # fmt: skip
    minibatches = config.minibatches(pace.update_every)
    refuse_long(pace, minibatches)
    request = model_request(slicing, precision)  # or it is refused: both before anything is measured
    models = optimizer.planning.models_of(
        fresh_profile(config, named_base(config), budget_s=budget_s),
        partial(
            optimizer.planning.Planner,
            stages=config.stages,
            minibatches=minibatches,
            pace=pace,
        ),
        request,
        profiles_of_forms(config, budget_s),
    )
    for sentence in optimizer.report.model_sentences(models, names)[0]:
        report(f"{config.name}: {sentence}.")
    return models


def wanted_names(partitions: Sequence[str], config: Config, schemes: Schemes) -> list[str]:
    """Return the partitions that are named; of ``all``, ``sliced`` only where layers may be cut inside."""
    names = partition_names(partitions, schemes)
    if config.precision != AUTO:
        if LOWERED in partitions:
            raise ConfigError(f"the partition {LOWERED} is the best split in bfloat16 where that is faster, which "
                              "--precision auto looks for where a core multiplies bfloat16; add that, or leave the "
                              "partition out")  # fmt: skip
        names = [name for name in names if name != LOWERED]
    if names_layers(config.slice) and not {SLICED, LOWERED} & set(names):
        raise ConfigError(f"--slice {config.slice} is of the partition sliced, which is not among {', '.join(names)}; "
                          "name it, too, or leave --slice out")  # fmt: skip
    if config.slice != NONE and config.stages > 1:
        return names
    if SLICED in partitions:
        raise ConfigError("the partition sliced cuts layers inside, and --slice none or one stage leaves them whole; "
                          "leave out one")  # fmt: skip
    return [name for name in names if name != SLICED]


def plans_of(models: "Models", names: list[str], schemes: Schemes, report: Callable[[str], None]) -> dict[str, Plan]:
    """Return the plans of some partitions; what the model does not allow is told to ``report``."""
    model = models.whole.profile.model
    if names == [SLICED] and models.sliced is None:
        raise ConfigError(f"{model}: {models.why_whole}; run the partition {OPTIMIZED}")
    if names == [LOWERED] and models.lowered is None:
        report(f"{model}: {models.why_full}")
        names = [SLICED if models.sliced else OPTIMIZED]
    left_out: list[str] = []
    plans = optimizer.planning.plans_for(names, models, schemes, left_out.append)
    if not plans:
        raise ConfigError(f"nothing is left of {', '.join(names)}: {'; '.join(left_out)}")
    for sentence in left_out:
        report(sentence)
    return plans


def named_base(config: Config) -> Form:
    """Return the form that the whole layers of a configuration run in."""
    return BF16_FORM if config.precision == BF16 else PLAIN_FORM


def profiles_of_forms(config: Config, budget_s: float | None = None) -> "ProfileOf":
    """Return what gives the profile of a model in another form.

    A form that was named has to be had; of one that was not, what cannot be measured is told, and is none.

    Args:
        config: The model, its minibatch, and which forms are named.
        budget_s: How long to measure a profile; None: until a plan is known.
    """

    def profile_of(form: Form) -> Profile | None:
        try:
            return fresh_profile(config, form, budget_s=budget_s)
        except ProfilerError as error:
            if config.slice != AUTO and form.slicing and form.precision == named_base(config).precision:
                raise
            note_anyway(f"{config.name}: it cannot be profiled in {form.words}, and is planned for without: {error}")
            return None

    return profile_of
