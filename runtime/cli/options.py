"""The options that running commands share, and what they stand for: settings, cores, processes."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import profiler.capture
import profiler.machine
import runtime.pipeline
import runtime.supervisor
from optimizer.cli import ScheduleOptions, add_schedule
from optimizer.plan import Plan
from optimizer.schedule import PLAIN_1F1B, Pace
from profiler.cli import (
    CommonOptions,
    Parser,
    add_common,
    add_models,
    add_slice,
    duration,
    note,
    positive,
)
from profiler.errors import ConfigError
from profiler.profile import PLAIN_FORM, Form
from profiler.report import counted
from profiler.settings import Config
from runtime.cluster import placement
from runtime.pipeline import agree_on_weights
from runtime.results import CHANNELS, CLOCKS, ChannelName, Clock
from runtime.worker import OnNan, Settings

if TYPE_CHECKING:
    from runtime.cluster import Session
    from runtime.pipeline import Execution
    from runtime.supervisor import Watch, WorkerPool


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


def pool_of(options: RunningOptions, cores: tuple[int, ...], session: "Session | None" = None) -> "WorkerPool":
    """Start a process for each core: for every stage, or for that of this rank."""
    if session and session.distributed:
        return runtime.supervisor.WorkerPool(
            cores, stall_timeout_s=options.stall_timeout_s, ranks=(session.rank,), look=session.look
        )
    return runtime.supervisor.WorkerPool(cores, stall_timeout_s=options.stall_timeout_s)


@contextmanager
def executions_of(
    config: Config,
    plans: Iterable[Plan],
    pool: "WorkerPool",
    settings: Settings,
    watch: "Watch | None" = None,
    *,
    session: "Session | None" = None,
) -> Iterator[dict[Form, "Execution"]]:
    """Build the model that ``config`` names and yield what runs ``plans`` of it, by their forms; say if a run diverged.

    Raises:
        CaptureError: The captured layers do not compute what the model does.
        InputError: Other ranks have built something else.
    """
    whole = profiler.capture.captured_model(config)
    with redirect_stdout(sys.stderr):
        profiler.capture.refuse_unfaithful_briefly(whole, *profiler.capture.minibatch(config, whole))
    executions: dict[Form, runtime.pipeline.Execution] = {}
    with ExitStack() as stack:
        for form in dict.fromkeys(plan.form for plan in plans):
            captured = whole if form == PLAIN_FORM else profiler.capture.captured_model(config, form)
            executions[form] = stack.enter_context(runtime.pipeline.Execution(captured, pool, settings, watch, session))
            agree_on_weights(executions[form].session, executions[form])
        del whole, captured
        yield executions
    if any(execution.diverged for execution in executions.values()):
        sentence = "the loss is no longer a finite number: training diverged; lower lr in a configuration file"
        note(f"{config.name}: {sentence}")


def cores_of(config: Config, stages: int) -> tuple[int, ...]:
    """Return a core for each stage; under torchrun, that of this rank."""
    usable = profiler.machine.usable_cores(config.cores)
    if place := placement():
        return (usable[place.local_rank % len(usable)],)
    cores = runtime.pipeline.cores_for(stages, usable)
    if not runtime.pipeline.own_cores(cores) and (bound := profiler.machine.affinity_variables()):
        note(
            f"{counted(len(cores), 'stage')} share {counted(len(set(cores)), 'core')}, for the environment binds "
            f"threads to cores{bound}",
        )
    return cores
