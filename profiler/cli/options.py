"""The options that all commands share, and the configurations and profiles that they stand for."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar

import profiler.capture
import profiler.execution
import profiler.machine
from profiler.cli.console import note
from profiler.cli.declare import Options, core_list, option, positive, shape, switch
from profiler.commands import option_words
from profiler.errors import ConfigError
from profiler.profile import AUTO, BF16, FP32, form_named
from profiler.settings import Config, config, load_all


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions(Options):
    """The options of every command with a result that is a table."""

    HEADING: ClassVar[str] = "output"

    json: Annotated[bool, switch("print the result as JSON")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions(ResultOptions):
    """The options of every command that is about a model; those that are keys of a configuration stand for these."""

    HEADING: ClassVar[str] = "model and data"

    model: Annotated[
        tuple[str, ...] | None,
        option("of torchvision, or package.module:function", nargs="+", action="extend", metavar="NAME"),
    ] = None
    config: Annotated[Path | None, option("a configuration file, instead of --model", type=Path, metavar="FILE")] = None
    batch_size: Annotated[int | None, option("samples per minibatch (4)", type=positive, metavar="N")] = None
    image_size: Annotated[int | None, option("height and width in pixels (128)", type=positive, metavar="N")] = None
    sample_shape: Annotated[
        tuple[int, ...] | None, option("shape of a sample that is no image", type=shape, metavar="16,32")
    ] = None
    vocabulary: Annotated[int | None, option("token ids as input, below N", type=positive, metavar="N")] = None
    precision: Annotated[
        str | None, option("fp32, bf16, or auto: what is faster (fp32)", under="how to run", metavar="P")
    ] = None
    slice: Annotated[
        str | None,
        option("cut single layers: none, LAYER=PARTS, or auto, where it plans (auto)", under="split", metavar="HOW"),
    ] = None
    stages: Annotated[int | None, option("pipeline stages (4)", under="split", type=positive, metavar="N")] = None
    cores: Annotated[
        tuple[int, ...] | None,
        option("cores to use (all that may be used)", under="more", type=core_list, metavar="0,1,…"),
    ] = None
    profiles: Annotated[str | None, option("folder of kept profiles (profiles/)", under="more", metavar="DIR")] = None

    @classmethod
    def settings(cls) -> list[str]:
        """Return the keys of a configuration file that no option stands for."""
        elsewhere = {"typed", "own_rule", "data", "batches", "repeats", "partitions", "full"}
        ours = {field.name for field in fields(cls)} | elsewhere  # or options of other commands
        return [field.name for field in fields(Config) if field.name not in ours]


KEYS = [field.name for field in fields(CommonOptions) if field.name in {own.name for own in fields(Config)} - {"model"}]
"""The keys of a configuration that options of every command stand for."""


def configs(options: CommonOptions, default: tuple[str, ...] = ()) -> list[Config]:
    """Return a configuration for each model (and batch size) asked for, with the command line's values in place."""
    names = options.model or (() if options.config else default)
    if options.config and names:
        raise ConfigError("--model and --config cannot stand together; the file names its model")
    if not options.config and not names:
        raise ConfigError("no model is named; add --model resnet50, say")
    named = load_all(options.config) if options.config else [config.for_model(name) for name in dict.fromkeys(names)]
    keys = {field.name for field in fields(options)} & {field.name for field in fields(Config)} - {"model"}
    changes = {key: getattr(options, key) for key in keys}
    overridden = dict.fromkeys(config.override(own, changes) for own in named)
    for own in overridden:
        form_named(own.slice, own.precision)  # or it is refused, before anything is built
    return [settled_precision(profiler.capture.as_fed(_as_typed(own, options))) for own in overridden]


def _as_typed(own: Config, options: CommonOptions) -> Config:
    """Return a configuration with the options that stand for it on the command line of any of our commands."""
    named = {"config": options.config} if options.config else {"model": own.model}
    return replace(own, typed=option_words(**named, **{key: getattr(options, key) for key in KEYS}))


NO_INSTRUCTIONS = "this core has neither AMX nor AVX-512-BF16, so bfloat16 takes it longer than float32"


def settled_precision(config: Config) -> Config:
    """Return ``config`` in float32 where ``auto`` could find nothing faster."""
    missing = "" if config.precision == FP32 else _missing()
    if missing and config.precision == BF16:
        raise ConfigError(f"{config.name} cannot run in {BF16} here: {missing}; use --precision {FP32}")
    if missing and config.precision == AUTO:
        note(f"{config.name}: layers run in {FP32}: {missing}")
        return replace(config, precision=FP32)
    return config


def _missing() -> str:
    if not profiler.machine.bfloat16_instructions():
        return NO_INSTRUCTIONS
    return (
        ""
        if profiler.execution.onednn_lowers()
        else "this torch multiplies without oneDNN, or oneDNN is told not to use bfloat16"
    )
