"""What ``python -m optimizer`` plans for: a profile that is named, or those of models, kept or measured now."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import optimizer.planning
from optimizer.cli.planned import named_base, profiles_of_forms
from optimizer.cli.planning_options import PlanOptions
from optimizer.errors import OptimizerError
from optimizer.plan import EXACT
from optimizer.planning import model_request
from optimizer.schedule import refuse_long
from profiler.cli import configs, fresh_profile, note
from profiler.commands import again
from profiler.errors import ConfigError
from profiler.files import read_json
from profiler.machine import differences, this_machine
from profiler.profile import AUTO, Profile, form_named, profile_warnings
from profiler.settings import Config
from profiler.settings import config as configuration

if TYPE_CHECKING:
    from optimizer.planning import Models


def models_to_plan(options: PlanOptions) -> "Iterator[Models]":
    """Yield what plans for each model, in the forms asked for; measures what has no kept profile, one by one."""
    plain_only = "" if options.method == EXACT else f"--method {options.method}"
    for config, profile in _wanted(options):
        stages = options.stages or config.stages
        request = model_request(config.slice, config.precision, cut_after=options.cut_after, plain_only=plain_only)
        pace = options.pace(stages)
        minibatches = config.minibatches(pace.update_every)
        refuse_long(pace, minibatches)  # before anything is measured
        planner = partial(
            optimizer.planning.Planner,
            stages=stages,
            minibatches=minibatches,
            pace=pace,
            memory_limit_bytes=options.memory_limit_bytes,
            link=options.link,
        )
        own = profile or fresh_profile(config, named_base(config))
        yield optimizer.planning.models_of(own, planner, request, *([] if profile else [profiles_of_forms(config)]))


def _wanted(options: PlanOptions) -> list[tuple[Config, Profile | None]]:
    """Return what is to be planned for, with the profile if one is named."""
    if options.profile:
        profile = read_json(options.profile, Profile)
        changes = {key: getattr(options, key) for key in ("batches", "cores", "precision", "slice")}
        config = configuration.override(configuration.for_model(profile.model), changes)
        form_named(config.slice, config.precision)
        _refuse_others(profile, options)
        for warning in profile_warnings(profile):
            note(f"{options.profile}: {warning}")
        _refuse_elsewhere(profile, options)
        return [(config, profile)]
    wanted = configs(options)
    for flag, path in (("-o", options.output), ("--plot", options.plot)):
        if path and len(wanted) > 1:
            raise ConfigError(f"{path} is one file for {len(wanted)} plans; name one model, or give no {flag}")
    return [(config, None) for config in wanted]


def _refuse_elsewhere(profile: Profile, options: PlanOptions) -> None:
    """Refuse a profile whose times are not those of this machine unless told otherwise, and say what differs."""
    differing = differences(profile.machine, this_machine())
    said = f"{options.profile} was measured elsewhere: {'; '.join(differing)}"
    if differing and not options.any_machine:
        kept = str(options.profile) if str(options.profile).endswith(".json") else None
        here = again("profile", profile.typed, o=kept)
        raise OptimizerError(f"{said}; profile {profile.model} here with {here}, or add --any-machine")
    if differing:
        note(said)


def _refuse_others(profile: Profile, options: PlanOptions) -> None:
    """Refuse any ``--config``, and a model, size, slicing or precision other than the profile's."""
    if options.config:
        raise ConfigError("--profile and --config cannot stand together; the profile is of one model and batch")
    if options.model and options.model != (profile.model,):
        raise OptimizerError(f"{options.profile} is a profile of {profile.model}; leave out --model {options.model[0]}")
    sizes = (
        ("--batch-size", options.batch_size, profile.batch_size),
        ("--image-size", options.image_size, profile.input_shape[-1]),
        ("--sample-shape", options.sample_shape, profile.input_shape[1:]),
        ("--vocabulary", options.vocabulary, profile.vocabulary),
        ("--slice", options.slice if profile.slicing else None, profile.slicing),
        ("--precision", None if options.precision == AUTO else options.precision, profile.precision),
    )
    for flag, wanted, own in sizes:
        if wanted is not None and wanted != own:
            raise OptimizerError(f"{options.profile} was measured with {flag} {own}; leave out {flag} {wanted}")
