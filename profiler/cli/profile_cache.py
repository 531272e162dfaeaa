"""Keep profiles in a folder and find one that still fits: same model, minibatch and machine."""

from dataclasses import replace
from pathlib import Path

import profiler.capture
import profiler.machine
import profiler.measure
from profiler.cli.console import note, progress
from profiler.commands import again
from profiler.errors import FileError
from profiler.files import digest, is_file, read_json, to_json, write_whole
from profiler.output_files import refuse_unwritable
from profiler.profile import BF16, PLAIN_FORM, Form, Profile, profile_warnings, typed_for
from profiler.settings import Config


def path_for(config: Config, form: Form = PLAIN_FORM) -> Path:
    """Return where a profile is kept: ``<model>-b<N>-<size>.json`` in its folder, with what tells the form behind."""
    model = config.name.replace(":", "-").replace("/", "-")
    slicing = f"-sliced-{digest(form.slicing.encode())[:8]}" if form.slicing else ""
    precision = f"-{BF16}" if form.lowered else ""
    return Path(config.profiles) / f"{model}-b{config.batch_size}-{config.size_name}{precision}{slicing}.json"


def fresh_profile(config: Config, form: Form = PLAIN_FORM, *, budget_s: float | None = None) -> Profile:
    """Return the kept profile that fits ``config`` and a form on this machine, or measure one and keep it.

    It is measured beside as many busy cores as will run the other stages.

    Args:
        config: Model, batch size and image size.
        form: What of the model is to run.
        budget_s: How long to measure, if it has to be; None: until a plan is known.
    """
    cores = profiler.machine.neighbouring_cores(profiler.machine.usable_cores(config.cores), config.stages)
    path, typed = path_for(config, form), typed_for(config.typed, form)
    kept, difference = _kept(path)
    if kept:
        difference = misfit(kept, config, form) or _elsewhere(kept)
    captured = profiler.capture.captured_model(config, form, trained=bool(difference))
    if kept and not difference and captured.digest != kept.model_digest:
        difference = "the model has changed since"
        captured = profiler.capture.captured_model(config, form, trained=True)
    if kept and not difference:
        beside = ""
        if kept.neighbours != len(cores) - 1:
            beside = (
                f", which was measured beside {kept.neighbours} busy cores where {len(cores) - 1} will be; "
                f"{again('profile', typed)} measures it anew"
            )
        note(f"{config.name}: using the profile {path} of {kept.measured_at}{beside}")
        return replace(kept, typed=typed)
    refuse_unwritable(path, None, "profile -o and plan with --profile, or work in a folder that you may write to")
    note(f"{config.name}: measuring a profile{_of(form)} for {path}: {difference}")
    with progress("profile", 1) as advance:
        profile = profiler.measure.measure_profile(
            config, captured, cores, lambda share: advance(share, config.name), budget_s=budget_s
        )
    write_whole(path, to_json(profile))
    for warning in [] if form.slicing else profile_warnings(profile):  # which the whole model's has said
        note(f"{config.name}: {warning}")
    return profile


def _kept(path: Path) -> tuple[Profile | None, str]:
    """Return the kept profile, or why there is none; a damaged one is as good as none."""
    if not is_file(path):
        return None, "there is none yet"
    try:
        return read_json(path, Profile), ""
    except FileError as error:
        return None, str(error)


def _elsewhere(profile: Profile) -> str:
    """Say in words what differs between the machine of ``profile`` and this one, or nothing."""
    others = profiler.machine.differences(profile.machine, profiler.machine.this_machine())
    return f"that one was measured elsewhere: {'; '.join(others)}" if others else ""


def _of(form: Form) -> str:
    return f" in {form.words}" if form.words else ""


def misfit(profile: Profile, config: Config, form: Form) -> str:
    """Say in words why ``profile`` is not one of ``config`` in a form, or nothing."""
    loss = profiler.capture.loss_of(config).name if config.loss else ""
    pairs = [
        ("model", profile.model, config.name),
        ("input", profile.input_shape, config.input_shape),
        ("vocabulary", profile.vocabulary, config.vocabulary),
        ("loss", profile.loss_name, loss),
        ("update rule", profile.update_rule, config.rule.kind),
        ("form", profile.form.words or "as it is", form.words or "as it is"),
    ]
    if ":" not in profile.model:
        pairs.append(("classes", profile.classes, config.classes))
    return next((f"that one has {word} {own}, not {wanted}" for word, own, wanted in pairs if own != wanted), "")
