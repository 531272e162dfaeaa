"""The options that all commands share, and the configurations and profiles that they stand for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

import profiler.measure
from profiler.cli.arguments import cores, positive, shape
from profiler.cli.command import Parser
from profiler.cli.console import note, progress
from profiler.cli.precision import settled_precision
from profiler.commands import option_words
from profiler.errors import ConfigError
from profiler.profile import Profile
from profiler.settings import Config, config, load_all


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """The options of every command; those that are keys of a configuration stand for these."""

    model: tuple[str, ...] | None = None
    config: Path | None = None
    batch_size: int | None = None
    image_size: int | None = None
    sample_shape: tuple[int, ...] | None = None
    vocabulary: int | None = None
    batches: int | None = None
    repeats: int | None = None
    stages: int | None = None
    slice: str | None = None
    precision: str | None = None
    cores: tuple[int, ...] | None = None
    profiles: str | None = None
    json: bool = False


def add_common(parser: Parser) -> None:
    """Add the options that every command has."""
    parser.add_argument("--batch-size", type=positive, metavar="N", help="samples per minibatch")
    parser.add_argument("--image-size", type=positive, metavar="N", help="height and width of the images in pixels")
    parser.add_argument("--sample-shape", type=shape, metavar="16,32", help="shape of a sample that is no image")
    parser.add_argument(
        "--vocabulary", type=positive, metavar="N", help="samples hold whole numbers below N: token ids"
    )
    parser.add_argument(
        "--precision", metavar="fp32|bf16|auto", help="float32, bfloat16 under torch's autocast, or by layer what is "
        "measured to be faster (default: as configured, fp32)",
    )  # fmt: skip
    parser.add_argument("--stages", type=positive, metavar="N", help="pipeline stages (default: as configured, 4)")
    parser.add_argument(
        "--cores", type=cores, metavar="0,1,…", help="cores to use (default: those this process may use)"
    )
    parser.add_argument("--profiles", metavar="DIR", help="folder of kept profiles (default: as configured, profiles/)")
    parser.add_argument("--wide", action="store_true", help="all columns of a table, however narrow the terminal")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress and no tables")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")


def add_slice(parser: Parser) -> None:
    """Add ``--slice``."""
    parser.add_argument(
        "--slice", metavar="auto|none|LAYER=K,…", help="cut layers inside, into K even blocks of output "
        "features, or blocks of so many each, 1024+3072 (default: as configured, auto: where that pays)",
    )  # fmt: skip


def add_models(parser: Parser, text: str) -> None:
    """Add ``--model``, which takes one name or several and may be given more than once, and ``--config``."""
    parser.add_argument("--model", nargs="+", action="extend", metavar="NAME", help=text)
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file instead of --model")


def configs(options: CommonOptions, default: tuple[str, ...] = ()) -> list[Config]:
    """Return a configuration for each model (and batch size) asked for, with the command line's values in place.

    Raises:
        ConfigError: Neither or both of ``--model`` and ``--config`` are given, or the file is wrong, or this machine
            cannot run the precision.
    """
    names = options.model or (() if options.config else default)
    if options.config and names:
        raise ConfigError("--model and --config cannot stand together; the file names its model")
    if not options.config and not names:
        raise ConfigError("no model is named; add --model resnet50, say")
    named = load_all(options.config) if options.config else [config.for_model(name) for name in dict.fromkeys(names)]
    keys = {field.name for field in fields(CommonOptions)} & {field.name for field in fields(Config)} - {"model"}
    changes = {key: getattr(options, key) for key in keys}
    overridden = dict.fromkeys(config.override(own, changes) for own in named)
    return [settled_precision(_as_typed(own, options)) for own in overridden]


def _as_typed(own: Config, options: CommonOptions) -> Config:
    """Return a configuration with the options that stand for it on the command line of any of our commands."""
    keys = ("batch_size", "image_size", "sample_shape", "vocabulary", "precision", "stages", "cores", "profiles")
    named = {"config": options.config} if options.config else {"model": own.model}
    return replace(own, typed=option_words(**named, **{key: getattr(options, key) for key in keys}))


def fresh_profile(
    config: Config,
    core: int,
    *,
    budget_s: float | None = None,
) -> Profile:
    """Return the kept profile that still fits, or measure one and keep it, with a progress bar.

    Raises:
        ProfilerError: The model cannot be built or captured.
    """

    @contextmanager
    def bar() -> Iterator[Callable[[float], None]]:
        with progress("profile", 1) as advance:
            yield lambda share: advance(share, config.name)

    return profiler.measure.profile_for(
        config,
        core,
        bar,
        note,
        budget_s=budget_s,
    )
