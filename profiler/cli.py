"""``python -m profiler``: measure what each layer of a model costs on one core."""

import argparse
from pathlib import Path

from profiler.command import (
    Parser,
    add_common,
    add_models,
    configs,
    emit,
    execute,
    note,
    progress,
    stdout,
)  # fmt: skip
from profiler.config import Config
from profiler.errors import ConfigError
from profiler.files import to_json

MODELS = ("alexnet", "vgg16", "resnet50")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="python -m profiler", description="Measure what each layer of a model costs on one core.")
    add_models(parser, f"torchvision model, or package.module:factory (default: {', '.join(MODELS)})")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file instead of --model")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE_OR_DIR", help="where to keep the profiles (default: profiles/)"
    )
    add_common(parser)
    return execute(parser, _run, argv)


def _run(options: argparse.Namespace) -> int:
    wanted = configs(options, MODELS)
    paths = _paths(wanted, options.output)
    from profiler.measure import STEPS, measure
    from profiler.process import settled, usable_cores
    from profiler.store import keep
    from profiler.table import show

    core = usable_cores(options.cores)[0]
    with progress("profile", STEPS * len(wanted), quiet=options.quiet) as advance:
        for config, path in zip(wanted, paths, strict=True):
            with settled(core):
                profile = measure(config, lambda name=config.model: advance(1, name))  # type: ignore[misc]
            keep(profile, path)
            if options.json:
                emit(to_json(profile), None)
            elif not options.quiet:
                show(profile, stdout())
            note(f"{config.model}: kept in {path}", quiet=options.quiet)
    return 0


def _paths(wanted: list[Config], output: Path | None) -> list[Path]:
    from profiler.store import FOLDER, path_for

    if output is None or output.is_dir() or output.suffix != ".json":
        return [path_for(config, output or FOLDER) for config in wanted]
    if len(wanted) > 1:
        raise ConfigError(f"{output} is one file for {len(wanted)} profiles; name a folder with -o")
    return [output]
