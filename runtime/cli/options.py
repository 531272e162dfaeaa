"""The options that running commands share, and what they stand for: settings, cores, processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import profiler.capture
import runtime.pipeline
from optimizer.cli import PlanningOptions
from optimizer.planning import OPTIMIZED
from optimizer.schedule import PLAIN_1F1B, Pace
from profiler.cli import duration, option
from profiler.errors import ConfigError
from profiler.settings import Config
from runtime.hosts import placement
from runtime.results import CHANNELS, CLOCKS, ChannelName, Clock
from runtime.worker import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOptions(PlanningOptions):
    """The options of every command that runs a pipeline."""

    HEADING: ClassVar[str] = "how to run"

    channel: Annotated[
        ChannelName | None,
        option("shared memory, or gloo's messages (shm; under torchrun gloo)", under="more", choices=CHANNELS),
    ] = None
    data: Annotated[
        str | None,
        option("package.module:function of your minibatches (random)", under="model and data", metavar="P.M:F"),
    ] = None
    stall_timeout_s: Annotated[
        float | None,
        option(
            "how long an action may take before its stage has hung",
            "--stall-timeout",
            under="more",
            type=duration,
            metavar="60s",
        ),
    ] = None
    budget_s: Annotated[
        float | None,
        option(
            "time for rounds where no kept profile fits (30s)",
            "--budget",
            under="more",
            type=duration,
            metavar="30s",
        ),
    ] = None


RankTimeout = Annotated[
    float | None,
    option(
        "how long a rank of torchrun may be late or silent",
        "--rank-timeout",
        under="more",
        type=duration,
        metavar="60s",
    ),
]
ClockOption = Annotated[
    Clock | None,
    option("virtual: work out missing cores (where too few)", choices=CLOCKS),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOptions(RunningOptions):
    """The options of commands that torchrun may start as several ranks."""

    HEADING: ClassVar[str] = "split"

    plan: Annotated[Path | None, option("a plan, as plan -o writes it", type=Path, metavar="FILE")] = None
    partition: Annotated[str | None, option(f"a split of --model by name ({OPTIMIZED})", metavar="P")] = None
    rank_timeout_s: RankTimeout = None


def clock_of(asked: Clock | None, options: RunningOptions, cores: Sequence[int]) -> Clock:
    """Return the clock that stages on ``cores`` run by."""
    refuse_clock(asked, options)
    return "wall" if placement() else asked or runtime.pipeline.default_clock(cores, _channel_of(options))


def refuse_clock(asked: Clock | None, options: RunningOptions) -> None:
    """Refuse the virtual clock where it cannot be had."""
    if asked == "virtual" and placement():
        raise ConfigError("--clock virtual is for stages of one machine that take turns on its cores; leave it out "
                          "under torchrun")  # fmt: skip
    if asked == "virtual" and _channel_of(options) == "gloo":
        raise ConfigError("--clock virtual needs stages that work only when it is their turn, and gloo works on "
                          "messages in threads of its own; leave out --channel gloo")  # fmt: skip


def _channel_of(options: RunningOptions) -> ChannelName:
    """Return the channel that was asked for; else gloo between ranks of torchrun, and shared memory on one machine."""
    return options.channel or ("gloo" if placement() else "shm")


def settings_of(
    options: RunningOptions,
    config: Config,
    planned: Pace = PLAIN_1F1B,
    *,
    clock: Clock = "wall",
) -> Settings:
    """Return how plans of ``config`` are to be run, under the schedule they were ``planned`` for if none is named."""
    return Settings(
        rule=config.rule,
        seed=profiler.capture.SEED,
        pace=options.pace(config.stages, planned),
        channel=_channel_of(options),
        clock=clock,
        data=config.data,
        vocabulary=config.vocabulary,
    )
