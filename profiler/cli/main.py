"""``python -m profiler``: measure what each layer of a model costs on one core."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from profiler.cli.console import emit_json, note, progress, stdout
from profiler.cli.options import Parser, add_common, add_models, configs, duration, execute, positive
from profiler.errors import ConfigError
from profiler.files import refuse_unwritable, write_whole
from profiler.profile import Profile, profile_warnings
from profiler.report import VIEWS
from profiler.settings import Config

MODELS = ("alexnet", "vgg16", "resnet50")
TABLES = (".csv", ".md")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="python -m profiler", description="Measure what each layer of a model costs on one core.")
    add_models(parser, f"torchvision model, or package.module:factory (default: {', '.join(MODELS)})")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE_OR_DIR",
        help="folder of the profiles (default: profiles/), a profile x.json, or the table as x.csv or x.md",
    )
    parser.add_argument(
        "--budget", type=duration, default=30.0, metavar="30s", help="longest time to measure a model (default: 30s)"
    )
    parser.add_argument("--view", choices=VIEWS, default="time", help="columns of the printed table (default: time)")
    parser.add_argument("--sort", choices=("order", "time"), default="order", help="as captured, or costliest first")
    parser.add_argument("--top", type=positive, metavar="K", help="show only so many layers")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the roofline of one model")
    parser.add_argument(
        "--neighbours",
        type=positive,
        metavar="N",
        default=0,
        help="measure beside N busy cores, too",
    )
    add_common(parser)
    return execute(parser, _run, argv)


def _run(options: argparse.Namespace) -> int:
    wanted = configs(options, MODELS)
    places, printed = _places(wanted, options), []
    for place in places:
        for path in (place.profile, place.table, place.plot):
            if path:
                refuse_unwritable(path)
    from profiler.capture import captured_model
    from profiler.machine import neighbouring_cores, usable_cores
    from profiler.measure import keep, measured
    from profiler.report import rows, show

    cores = neighbouring_cores(usable_cores(options.cores), options.neighbours)
    with progress("profile", len(wanted), quiet=options.quiet) as advance:
        for config, place in zip(wanted, places, strict=True):
            profile = measured(
                captured_model(config), config, cores, place.profile,
                advance=lambda share, what=config.model: advance(share, what),  # type: ignore[misc]
                report=lambda sentence: note(sentence, quiet=False), budget_s=options.budget,
            )  # fmt: skip
            keep(profile, place.profile)
            _write_views(profile, place, options)
            for warning in (
                profile_warnings(profile) if options.json or options.quiet else []
            ):  # else they stand below the table
                note(f"{config.model}: {warning}", quiet=False)
            if options.json:
                printed.append(profile)
            elif not options.quiet:
                show(rows(profile, options.sort, options.top, (options.view,)), stdout())
            note(f"{config.model}: kept in {place.profile}", quiet=options.quiet)
    emit_json(printed)
    return 0


def _write_views(profile: Profile, place: "_Place", options: argparse.Namespace) -> None:
    from profiler.report import rows, to_csv, to_markdown

    if place.table:
        found = rows(profile, options.sort, options.top)
        write_whole(place.table, to_csv(found) if place.table.suffix == ".csv" else to_markdown(found))
        note(f"{profile.model}: table written to {place.table}", quiet=options.quiet)
    if place.plot:
        from profiler.report import roofline_svg

        write_whole(place.plot, roofline_svg(profile))
        note(f"{profile.model}: roofline written to {place.plot}", quiet=options.quiet)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a model's profile goes, and the table and the plot if they are wanted."""

    profile: Path
    table: Path | None = None
    plot: Path | None = None


def _places(wanted: list[Config], options: argparse.Namespace) -> list[_Place]:
    plot: Path | None = options.plot
    if plot and plot.suffix != ".svg":
        raise ConfigError(f"{plot} does not end in .svg; --plot draws that format only")
    if plot and len(wanted) > 1:
        raise ConfigError(f"{plot} is one file for {len(wanted)} models; name one --model")
    return [replace(place, plot=plot) for place in _files(wanted, options.output)]


def _files(wanted: list[Config], output: Path | None) -> list[_Place]:
    from profiler.measure import FOLDER, path_for

    if output is None or output.is_dir() or not output.suffix:
        return [_Place(path_for(config, output or FOLDER)) for config in wanted]
    if output.suffix not in (".json", *TABLES):
        raise ConfigError(f"{output} ends in none of .json, .csv and .md; name such a file, or a folder, with -o")
    if len(wanted) > 1:
        raise ConfigError(f"{output} is one file for {len(wanted)} profiles; name a folder with -o")
    if output.suffix == ".json":
        return [_Place(output)]
    return [_Place(path_for(wanted[0], FOLDER), output)]
