"""The profiles of other forms of a model, where planning asks for them: kept, or measured now."""

from typing import TYPE_CHECKING

import profiler.capture
import profiler.machine
import profiler.measure
from profiler.cli import fresh_profile, note, note_anyway
from profiler.errors import ProfilerError
from profiler.profile import AUTO, BF16, BF16_FORM, FP32, PLAIN_FORM, Form, Profile
from profiler.settings import Config

if TYPE_CHECKING:
    from optimizer.planning import ProfileOf

TRIAL_S, LEAST_TIMES = 3.0, 1.1
"""For how long plain steps in bfloat16 are tried, and how many times as fast they have to be to be worth a profile."""


def named_base(config: Config) -> Form:
    """Return the form that the whole layers of a configuration run in."""
    return BF16_FORM if config.precision == BF16 else PLAIN_FORM


def profiles_of_forms(config: Config, budget_s: float | None = None) -> "ProfileOf":
    """Return what gives the profile of a model in another form.

    A form that was named has to be had; of one that was not, what cannot be measured is told, and is none.

    Args:
        config: The model, its minibatch, and which forms are named.
        budget_s: How long to measure a profile; None: for the usual time.
    """

    def profile_of(form: Form) -> Profile | None:
        try:
            if form == BF16_FORM and not _worth_it(config):
                return None
            return fresh_profile(config, form, budget_s=budget_s)
        except ProfilerError as error:
            if config.slice != AUTO and form.slicing and form.precision == named_base(config).precision:
                raise
            note_anyway(f"{config.name}: it cannot be profiled in {form.words}, and is planned for without: {error}")
            return None

    return profile_of


def _worth_it(config: Config) -> bool:
    """Say whether a plain step in bfloat16 is so much faster that it is worth a profile, if none is kept."""
    if profiler.measure.kept_profile(config, BF16_FORM):
        return True
    core = profiler.machine.usable_cores(config.cores)[0]
    lowered = profiler.capture.captured_model(config, BF16_FORM, trained=True)
    times = profiler.measure.times_as_fast(config, lowered, core, TRIAL_S)
    note(f"{config.name}: a step in {BF16} is {times:.2f} times as fast as in {FP32}")
    return times >= LEAST_TIMES
