"""``python -m profiler``: measure what each layer of a model costs on one core."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import profiler.capture
import profiler.machine
import profiler.measure
import profiler.report
from profiler.cli.arguments import count, duration, positive
from profiler.cli.command import execute
from profiler.cli.console import emit_json, note, note_anyway, progress, screen, stdout
from profiler.cli.declare import add_options, option, switch
from profiler.cli.options import CommonOptions, configs
from profiler.cli.parser import Parser
from profiler.commands import MODULES, again, command, typed_as
from profiler.errors import ConfigError
from profiler.files import to_json, write_whole
from profiler.output_files import OutputKind, refuse_unwritable
from profiler.profile import Profile, profile_warnings
from profiler.report import VIEWS, View
from profiler.rounds import BUDGET_S
from profiler.settings import Config

MODELS = ("alexnet", "vgg16", "resnet50")
TABLES = (".csv", ".md")
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
        option("time for rounds, 5 at least (30s, 15 rounds)", "--budget", type=duration, metavar="30s"),
    ] = None
    neighbours: Annotated[int | None, option("busy cores beside (--stages less one)", type=count, metavar="N")] = None
    output: Annotated[
        Path | None,
        option(
            "folder, profile x.json, or table x.csv, x.md", "-o", "--output", under="output", type=Path, metavar="PATH"
        ),
    ] = None
    view: Annotated[View, option("which columns (time)", under="output", choices=VIEWS)] = "time"
    top: Annotated[int, option("how many layers, the costliest (10)", under="output", type=positive, metavar="K")] = 10
    all: Annotated[bool, switch("all layers, as captured", under="output")] = False
    plot: Annotated[
        Path | None, option("draw the roofline of one model", under="output", type=Path, metavar="FILE.svg")
    ] = None


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
    places, profiles = _places(wanted, options), []
    for place in places:
        outputs: list[tuple[Path | None, OutputKind, str]] = [
            (place.profile, "profile", "-o"), (place.table, "table", "-o"), (place.plot, "drawing", "--plot"),
        ]  # fmt: skip
        for path, kind, flag in outputs:
            if path:
                refuse_unwritable(path, kind, flag)

    cores = profiler.machine.neighbouring_cores(
        profiler.machine.usable_cores(wanted[0].cores), wanted[0].stages, options.neighbours
    )
    with progress("profile", len(wanted)) as advance:
        for number, (config, place) in enumerate(zip(wanted, places, strict=True), 1):
            about_s = (options.budget_s or BUDGET_S) + PREPARATION_S
            which = f"model {number} of {len(wanted)}"
            note(f"{config.name}: measuring, {which}: about {about_s:.0f} s, or longer where a step takes long")
            profile = profiler.measure.measure_profile(
                config,
                profiler.capture.captured_model(config, trained=True),
                cores,
                lambda share, what=config.name: advance(share, what),  # type: ignore[misc]
                budget_s=options.budget_s,
            )
            write_whole(place.profile, to_json(profile))
            profiles.append(profile)
            _write_views(profile, place)
            for warning in profile_warnings(profile) if options.json or screen().quiet else []:  # else below the table
                note_anyway(f"{config.name}: {warning}")
            if not options.json and not screen().quiet:
                every = profiler.report.rows(profile, (options.view,)) if options.all else None
                profiler.report.show(every or profiler.report.costliest(profile, options.view, options.top), stdout())
                stdout().print(f"Next: {again('plan', profile.typed)}", soft_wrap=True)
            note(f"{config.name}: kept in {place.profile}")
    emit_json(profiles if options.json else [])
    return 0


def _write_views(profile: Profile, place: "_Place") -> None:
    if place.table:
        table = profiler.report.rows(profile)
        write_whole(
            place.table,
            profiler.report.to_csv(table) if place.table.suffix == ".csv" else profiler.report.to_markdown(table),
        )
        note(f"{profile.model}: table written to {place.table}")
    if place.plot:
        write_whole(place.plot, profiler.report.roofline_svg(profile), "--plot")
        note(f"{profile.model}: roofline written to {place.plot}")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a model's profile goes, and the table and the plot if they are wanted."""

    profile: Path
    table: Path | None = None
    plot: Path | None = None


def _places(wanted: list[Config], options: ProfileOptions) -> list[_Place]:
    plot = options.plot
    if plot and plot.suffix != ".svg":
        raise ConfigError(f"{plot} does not end in .svg; --plot draws that format only")
    if plot and len(wanted) > 1:
        raise ConfigError(f"{plot} is one file for {len(wanted)} models; name one --model")
    return [replace(place, plot=plot) for place in _files(wanted, options.output)]


def _files(wanted: list[Config], output: Path | None) -> list[_Place]:
    if output is None or output.is_dir() or not output.suffix:
        return [
            _Place(profiler.measure.path_for(replace(config, profiles=str(output or config.profiles))))
            for config in wanted
        ]
    if output.suffix not in (".json", *TABLES):
        raise ConfigError(f"{output} ends in none of .json, .csv and .md; name such a file, or a folder, with -o")
    if len(wanted) > 1:
        raise ConfigError(f"{output} is one file for {len(wanted)} profiles; name a folder with -o")
    if output.suffix == ".json":
        return [_Place(output)]
    return [_Place(profiler.measure.path_for(wanted[0]), output)]
