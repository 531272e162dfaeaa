"""Keep profiles in a folder and find one that still fits: same model, minibatch and machine."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from profiler.errors import FileError
from profiler.files import is_file, read_json, to_json, write_whole
from profiler.profile import Profile, profile_warnings
from profiler.settings import Config

if TYPE_CHECKING:
    from profiler.execution import Captured

FOLDER = Path("profiles")


def path_for(config: Config, folder: Path = FOLDER) -> Path:
    """Return where the profile of ``config`` is kept: ``<model>-b<N>-<size>.json``."""
    model = config.model.replace(":", "-").replace("/", "-")
    return folder / f"{model}-b{config.batch_size}-{config.size_name}.json"


def keep(profile: Profile, path: Path) -> None:
    """Write ``profile`` to ``path``."""
    write_whole(path, to_json(profile))


def profile_for(
    config: Config,
    core: int,
    progress: Callable[[], AbstractContextManager[Callable[[float], None]]],
    report: Callable[[str], None],
    *,
    folder: Path = FOLDER,
    budget_s: float | None = None,
) -> Profile:
    """Return the kept profile that fits ``config`` on this machine, or measure one on ``core`` and keep it.

    Args:
        config: Model, batch size and image size.
        core: Where to measure.
        progress: Gives, while measuring, what is called with shares of the work done that add up to 1.
        report: Called with sentences on what is used and what casts doubt on it.
        folder: Where profiles are kept.
        budget_s: How long to measure, if it has to be; None for the usual time.

    Raises:
        ProfilerError: The model cannot be built or captured, or a file cannot be read or written.
    """
    from profiler.capture import captured_model
    from profiler.machine import differences, this_machine

    path = path_for(config, folder)
    found, difference = _kept(path)
    captured = captured_model(config)
    if found:
        difference = misfit(found, config)
    if found and not difference and (others := differences(found.machine, this_machine())):
        difference = f"that one was measured elsewhere: {'; '.join(others)}"
    if found and not difference and captured.digest != found.model_digest:
        difference = "the model has changed since"
    if found and not difference:
        report(f"{config.model}: using the profile {path} of {found.measured_at}")
        return found
    report(f"{config.model}: measuring a profile for {path}: {difference}")
    with progress() as advance:
        profile = measured(captured, config, core, path, advance=advance, report=report, budget_s=budget_s)
    keep(profile, path)
    for warning in profile_warnings(profile):
        report(f"{config.model}: {warning}")
    return profile


def measured(
    captured: "Captured",
    config: Config,
    core: int,
    path: Path,
    *,
    advance: Callable[[float], None],
    report: Callable[[str], None],
    budget_s: float | None = None,
) -> Profile:
    """Measure a profile that is to be kept at ``path``; what an interrupt leaves over is kept beside it.

    Raises:
        ProfilerError: As ``measure``.
        Interrupted: Ctrl-C was pressed.
    """
    from profiler.measure.measure import BUDGET_S, Interrupted, measure_profile

    try:
        return measure_profile(config, captured, core, advance, budget_s=budget_s or BUDGET_S)
    except Interrupted as interrupted:
        if interrupted.partial:
            partial = path.with_suffix(".partial.json")
            keep(interrupted.partial, partial)
            report(f"{config.model}: the rounds so far are in {partial}, which is not planned with")
        raise


def _kept(path: Path) -> tuple[Profile | None, str]:
    """Return the kept profile, or why there is none; a damaged one is as good as none."""
    if not is_file(path):
        return None, "there is none yet"
    try:
        return read_json(path, Profile), ""
    except FileError as error:
        return None, str(error)


def misfit(profile: Profile, config: Config) -> str:
    """Say in words why ``profile`` is not one of ``config``, or nothing."""
    if not profile.complete:
        return "that one is what an interrupt left over"
    pairs = [
        ("model", profile.model, config.model),
        ("input", profile.input_shape, config.input_shape),
        ("vocabulary", profile.vocabulary, config.vocabulary),
        ("update rule", profile.update_rule, config.rule.kind),
    ]
    if ":" not in profile.model:
        pairs.append(("classes", profile.classes, config.classes))
    return next((f"that one has {word} {found}, not {wanted}" for word, found, wanted in pairs if found != wanted), "")
