"""The options that running commands share, and what they stand for: settings, cores, processes."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import profiler.capture
import profiler.machine
import runtime.pipeline
import runtime.supervisor
from optimizer.cli import ScheduleOptions, add_schedule
from optimizer.schedule import PLAIN_1F1B, Pace
from profiler.cli import (
    CommonOptions,
    Parser,
    add_common,
    add_models,
    add_slice,
    duration,
    positive,
)
from profiler.errors import ConfigError
from profiler.settings import Config
from runtime.cluster import placement
from runtime.results import CHANNELS, CLOCKS, ChannelName, Clock
from runtime.worker import OnNan, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOptions:
    """The options of every command that runs a pipeline.

    Attributes:
        stall_timeout_s: How long one action may take before its stage counts as hung; None: by its prediction.
        data: Where the user's own minibatches come from; ``on_nan``, what to do about a loss that is no number.
        budget_s: How long to measure a profile, where none is kept that fits; None: for the usual time.
    """

    common: CommonOptions
    schedule: ScheduleOptions
    channel: ChannelName | None
    data: str | None
    on_nan: OnNan
    stall_timeout_s: float | None
    budget_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOptions:
    """The options of commands that torchrun may start as several ranks: the plan, and how long a rank may be silent."""

    running: RunningOptions
    plan: Path | None
    partition: str | None
    rank_timeout_s: float | None


def add_running(command: Parser, *, on_nan: OnNan) -> None:
    """Add the options of every command that runs a pipeline; ``on_nan`` is what it does about a loss that is none."""
    add_models(command, "torchvision model, or package.module:factory")
    command.add_argument("--batches", type=positive, metavar="N", help="minibatches of a run")
    add_schedule(command)
    command.add_argument(
        "--channel", type=channel, metavar="|".join(CHANNELS), help="shared memory, or gloo's messages (default: shm, "
        "and gloo under torchrun)"
    )  # fmt: skip
    add_slice(command)
    command.add_argument("--data", metavar="P.M:F", help="package.module:factory of pairs (inputs, labels)")
    command.add_argument(
        "--on-nan", choices=("stop", "warn"), default=on_nan, help=f"a loss that is no number (default: {on_nan})"
    )
    command.add_argument(
        "--stall-timeout", dest="stall_timeout_s", type=duration, metavar="60s",
        help="how long one action may take before its stage has hung",
    )  # fmt: skip
    command.add_argument(
        "--budget", dest="budget_s", type=duration, metavar="30s",
        help="how long to measure a model, where no kept profile fits",
    )  # fmt: skip
    add_common(command)


def add_ranks(command: Parser, partitions: str, *, on_nan: OnNan) -> None:
    """Add the options of commands that torchrun may start as several ranks."""
    command.add_argument("--plan", type=Path, metavar="FILE", help="plan that python -m optimizer -o wrote")
    command.add_argument("--partition", metavar="P", help=partitions)
    add_rank_timeout(command)
    add_running(command, on_nan=on_nan)


def add_rank_timeout(command: Parser) -> None:
    """Add ``--rank-timeout``."""
    command.add_argument(
        "--rank-timeout", dest="rank_timeout_s", type=duration, metavar="60s",
        help="how long a rank of torchrun may be late or silent",
    )  # fmt: skip


def channel(text: str) -> ChannelName:
    """Parse the name of a channel."""
    for name in CHANNELS:
        if text == name:
            return name
    untested = "; NCCL has not been tested with this pipeline, and is refused until it has" if text == "nccl" else ""
    raise argparse.ArgumentTypeError(f"'{text}' is no channel{untested}: use {' or '.join(CHANNELS)}")


def add_clock(command: Parser) -> None:
    """Add ``--clock``."""
    command.add_argument(
        "--clock", choices=CLOCKS, help="where stages share cores, virtual lets them take turns and works out what a "
        "core for every stage would give (default: virtual there, else wall)",
    )  # fmt: skip


def clock_of(asked: Clock | None, options: RunningOptions, cores: Sequence[int]) -> Clock:
    """Return the clock that stages on ``cores`` run by."""
    refuse_clock(asked, options)
    return "wall" if placement() else asked or runtime.pipeline.default_clock(cores, _channel_of(options))


def refuse_clock(asked: Clock | None, options: RunningOptions) -> None:
    """Refuse the virtual clock where it cannot be had.

    Raises:
        ConfigError: It is asked for there.
    """
    if asked == "virtual" and placement():
        raise ConfigError("--clock virtual is for stages of one machine that take turns on its cores; leave it out "
                          "under torchrun")  # fmt: skip
    if asked == "virtual" and _channel_of(options) == "gloo":
        raise ConfigError("--clock virtual needs stages that work only when it is their turn, and gloo works on "
                          "messages in threads of its own; leave out --channel gloo")  # fmt: skip


def _channel_of(options: RunningOptions) -> ChannelName:
    return options.channel or ("gloo" if placement() else "shm")


def settings_of(
    options: RunningOptions,
    config: Config,
    planned: Pace = PLAIN_1F1B,
    *,
    clock: Clock = "wall",
    record_digests: bool = False,
) -> Settings:
    """Return how plans of ``config`` are to be run, under the schedule that they were ``planned`` for if none is named.

    Raises:
        ConfigError: The schedule does not take so many minibatches an update.
    """
    return Settings(
        rule=config.rule,
        seed=profiler.capture.SEED,
        pace=options.schedule.pace(config.stages, planned),
        channel=_channel_of(options),
        clock=clock,
        data=options.data or config.data,
        vocabulary=config.vocabulary,
        on_nan=options.on_nan,
        record_digests=record_digests,
    )
