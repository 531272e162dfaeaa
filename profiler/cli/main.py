"""``python -m profiler``: measure what each layer of a model costs on one core."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import profiler.capture
import profiler.machine
import profiler.measure
import profiler.report
from profiler.cli.command import execute
from profiler.cli.console import emit_json, note, note_anyway, progress, quiet, stdout
from profiler.cli.declare import Parser, add_options, duration, option, positive, switch
from profiler.cli.options import CommonOptions, configs
from profiler.cli.profile_cache import path_for
from profiler.commands import MODULES, again, command, typed_as
from profiler.errors import ConfigError
from profiler.files import to_json, write_whole
from profiler.output_files import refuse_unwritable
from profiler.profile import form_named, profile_warnings
from profiler.rounds import BUDGET_S
from profiler.settings import Config

MODELS = ("alexnet", "vgg16", "resnet50")
PREPARATION_S = 5.0
"""What it takes to build, check and warm up a small model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions(CommonOptions):
    """The options of ``python -m profiler``."""

    model: Annotated[
        tuple[str, ...] | None,
        option(
            f"of torchvision, or package.module:function (default: {', '.join(MODELS)})",
            under="model and data",
            nargs="+",
            action="extend",
            metavar="NAME",
        ),
    ] = None
    budget_s: Annotated[
        float | None,
        option("time for rounds, 5 at least (until a plan is known)", "--budget", type=duration, metavar="30s"),
    ] = None
    output: Annotated[
        Path | None,
        option("folder, or profile x.json", "-o", "--output", under="output", type=Path, metavar="PATH"),
    ] = None
    top: Annotated[int, option("how many layers, the costliest (10)", under="output", type=positive, metavar="K")] = 10
    all: Annotated[bool, switch("all layers, as captured", under="output")] = False


@typed_as(MODULES)
def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(
        prog=command("profile"), description="Measure what each layer of a model costs on one core.",
        examples=("--model resnet50", "--model mypackage.models:build --all"),
    )  # fmt: skip
    add_options(parser, ProfileOptions)
    return execute(parser.parse_args(argv), ProfileOptions, profile_all)


def profile_all(options: ProfileOptions) -> int:
    """Measure each model, keep its profile, and show or write what is asked for."""
    wanted = configs(options, MODELS)
    places, profiles = _places(wanted, options.output), []
    for place in places:
        refuse_unwritable(place, "profile", "-o")
    cores = profiler.machine.neighbouring_cores(profiler.machine.usable_cores(wanted[0].cores), wanted[0].stages)
    with progress("profile", len(wanted)) as advance:
        for number, (config, place) in enumerate(zip(wanted, places, strict=True), 1):
            about_s = (options.budget_s or BUDGET_S) + PREPARATION_S
            which = f"model {number} of {len(wanted)}"
            note(f"{config.name}: measuring, {which}: up to {about_s:.0f} s, or longer where a step takes long")
            form = form_named(config.slice, config.precision)
            profile = profiler.measure.measure_profile(
                config,
                profiler.capture.captured_model(config, form, trained=True),
                cores,
                lambda share, what=config.name: advance(share, what),  # type: ignore[misc]
                budget_s=options.budget_s,
            )
            write_whole(place, to_json(profile))
            profiles.append(profile)
            for warning in profile_warnings(profile) if options.json or quiet() else []:  # else below the table
                note_anyway(f"{config.name}: {warning}")
            if not options.json and not quiet():
                profiler.report.show_profile(profile, stdout(), None if options.all else options.top)
                stdout().print(f"Next: {again('plan', profile.typed)}", soft_wrap=True)
            note(f"{config.name}: kept in {place}")
    emit_json(profiles if options.json else [])
    return 0


def _places(wanted: list[Config], output: Path | None) -> list[Path]:
    """Return where each model's profile goes."""
    if output is None or output.is_dir() or not output.suffix:
        return [
            path_for(
                replace(config, profiles=str(output or config.profiles)), form_named(config.slice, config.precision)
            )
            for config in wanted
        ]
    if output.suffix != ".json":
        raise ConfigError(f"{output} does not end in .json; name such a file, or a folder, with -o")
    if len(wanted) > 1:
        raise ConfigError(f"{output} is one file for {len(wanted)} profiles; name a folder with -o")
    return [output]
