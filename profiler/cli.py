"""``python -m profiler``: measure what each layer of a model costs on one core."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from profiler.columns import VIEWS
from profiler.command import (
    Parser,
    add_common,
    add_models,
    batch_sizes,
    configs,
    duration,
    emit_json,
    execute,
    fresh_profile,
    note,
    positive,
    progress,
    stdout,
)  # fmt: skip
from profiler.config import Config, override
from profiler.doubts import doubts
from profiler.errors import ConfigError
from profiler.files import refuse_unwritable, to_json, write_whole
from profiler.types import Profile

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
    parser.add_argument(
        "--fit", type=batch_sizes, metavar="1,16", help="fit a line between two batch sizes, checked at a third"
    )
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
    if options.fit:
        return _fit(wanted, options)
    places, printed = _places(wanted, options), []
    for place in places:
        for path in (place.profile, place.table, place.plot):
            if path:
                refuse_unwritable(path)
    from profiler.process import neighbouring_cores, usable_cores
    from profiler.store import keep, measured
    from profiler.table import rows, show
    from profiler.workload import captured_model

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
            for doubt in doubts(profile) if options.json or options.quiet else []:  # else they stand below the table
                note(f"{config.model}: {doubt}", quiet=False)
            if options.json:
                printed.append(profile)
            elif not options.quiet:
                show(rows(profile, options.sort, options.top, (options.view,)), stdout())
            note(f"{config.model}: kept in {place.profile}", quiet=options.quiet)
    emit_json(printed)
    return 0


def _fit(wanted: list[Config], options: argparse.Namespace) -> int:
    """Fit each model; profiles that are kept and still fit are taken as they are."""
    from profiler.fit import fit
    from profiler.fit_table import show_fit
    from profiler.process import usable_cores
    from profiler.store import fit_path_for

    if options.output and len(wanted) > 1:
        raise ConfigError(f"{options.output} is one file for {len(wanted)} fits; name one --model, or give no -o")
    if options.output and options.output.suffix != ".json":
        raise ConfigError(f"{options.output} does not end in .json, and a fit is such a file; name one with -o")
    others = {"--plot": options.plot, "--neighbours": options.neighbours, "--batch-size": options.batch_size}
    others |= {"--top": options.top, "--view": options.view != "time", "--sort": options.sort != "order"}
    for flag in (flag for flag, given in others.items() if given):
        raise ConfigError(f"--fit and {flag} cannot stand together; a fit is of several profiles, so leave one out")
    low, high = options.fit[0], options.fit[-1]
    paths = [options.output or fit_path_for(config, low, high) for config in wanted]
    for path in paths:
        refuse_unwritable(path)
    core, printed = usable_cores(options.cores)[0], []
    for config, path in zip(wanted, paths, strict=True):
        sized = [override(config, {"batch_size": size}) for size in options.fit]
        profiles = [fresh_profile(one, core, quiet=options.quiet, budget_s=options.budget) for one in sized]
        found = fit(profiles)
        write_whole(path, to_json(found))
        if options.json:
            printed.append(found)
        elif not options.quiet:
            show_fit(found, profiles, path, stdout())
        note(f"{config.model}: kept in {path}", quiet=options.quiet)
    emit_json(printed)
    return 0


def _write_views(profile: Profile, place: "_Place", options: argparse.Namespace) -> None:
    from profiler.table import rows, to_csv, to_markdown

    if place.table:
        found = rows(profile, options.sort, options.top)
        write_whole(place.table, to_csv(found) if place.table.suffix == ".csv" else to_markdown(found))
        note(f"{profile.model}: table written to {place.table}", quiet=options.quiet)
    if place.plot:
        from profiler.plot import roofline_svg

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
    from profiler.store import FOLDER, path_for

    if output is None or output.is_dir() or not output.suffix:
        return [_Place(path_for(config, output or FOLDER)) for config in wanted]
    if output.suffix not in (".json", *TABLES):
        raise ConfigError(f"{output} ends in none of .json, .csv and .md; name such a file, or a folder, with -o")
    if len(wanted) > 1:
        raise ConfigError(f"{output} is one file for {len(wanted)} profiles; name a folder with -o")
    if output.suffix == ".json":
        return [_Place(output)]
    return [_Place(path_for(wanted[0], FOLDER), output)]
