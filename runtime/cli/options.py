"""The options that running commands share, and what they stand for: settings, processes, the plan to run."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.cli import NONE, is_explicit, refuse_odd_slicing, sliced_as
from optimizer.plan import Plan
from optimizer.planning import OPTIMIZED, SLICED, Schemes, load_schemes, partition_names, plans_for
from optimizer.schedule import ASYNCHRONOUS, FLUSH_EVERY, SCHEDULES, ScheduleName, flush_width
from profiler.cli import (
    CommonOptions,
    Parser,
    add_common,
    add_models,
    add_slice,
    configs,
    duration,
    fresh_profile,
    note,
    positive,
)
from profiler.errors import ConfigError
from profiler.files import read_json
from profiler.report import counted
from profiler.settings import Config
from profiler.settings import config as configuration
from runtime.cluster import placement
from runtime.pipeline import agree_on_weights
from runtime.results import CHANNELS, CLOCKS, ChannelName, Clock
from runtime.worker import OnNan, Settings

if TYPE_CHECKING:
    from optimizer.planning import Planner
    from runtime.cluster import Session
    from runtime.pipeline import Launcher
    from runtime.supervisor import Watch, WorkerPool

QUICK_BUDGET_S = 3.0
"""How long a quick profile measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOptions:
    """The options of every command that runs a pipeline.

    Attributes:
        stall_timeout_s: How long one action may take before its stage counts as hung; None: by its prediction.
        data: Where the user's own minibatches come from; ``on_nan``, what to do about a loss that is no number.
    """

    common: CommonOptions
    schedule: ScheduleName
    flush_every: int | None
    channel: ChannelName | None
    data: str | None
    on_nan: OnNan
    stall_timeout_s: float | None


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
    command.add_argument(
        "--schedule", choices=SCHEDULES, default=ASYNCHRONOUS, help=f"order of the actions (default: {ASYNCHRONOUS})"
    )
    command.add_argument(
        "--flush-every", type=positive, metavar="M", help=f"minibatches an update in a flush (default: {FLUSH_EVERY})"
    )
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
    from runtime.pipeline import default_clock

    refuse_clock(asked, options)
    return "wall" if placement() else asked or default_clock(cores, _channel_of(options))


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
    options: RunningOptions, config: Config, *, clock: Clock = "wall", record_digests: bool = False
) -> Settings:
    """Return how plans of ``config`` are to be run.

    Raises:
        ConfigError: ``--flush-every`` stands beside a schedule that does not take it.
    """
    from profiler.capture import SEED

    if options.flush_every and flush_width(options.schedule, 2) != 2:
        raise ConfigError(f"--flush-every says nothing to --schedule {options.schedule}; use 1f1b-flush or gpipe")
    return Settings(
        rule=config.rule,
        seed=SEED,
        schedule=options.schedule,
        flush_every=options.flush_every or FLUSH_EVERY,
        channel=_channel_of(options),
        clock=clock,
        data=options.data or config.data,
        vocabulary=config.vocabulary,
        on_nan=options.on_nan,
        record_digests=record_digests,
    )


def pool_of(options: RunningOptions, cores: tuple[int, ...], session: "Session | None" = None) -> "WorkerPool":
    """Start a process for each core: for every stage, or for that of this rank."""
    from runtime.supervisor import WorkerPool

    if session and session.distributed:
        return WorkerPool(cores, stall_timeout_s=options.stall_timeout_s, ranks=(session.rank,), look=session.look)
    return WorkerPool(cores, stall_timeout_s=options.stall_timeout_s)


@contextmanager
def launcher_of(
    config: Config,
    pool: "WorkerPool",
    settings: Settings,
    watch: "Watch | None" = None,
    *,
    slicing: str = "",
    session: "Session | None" = None,
    quiet: bool,
) -> Iterator["Launcher"]:
    """Build the model that ``config`` names, cut its layers, and get ready to run plans of it; say if a run diverged.

    Raises:
        InputError: Other ranks have built something else.
    """
    from profiler.capture import captured_model
    from runtime.pipeline import Launcher

    with Launcher(captured_model(config, slicing), pool, settings, watch, session) as launcher:
        agree_on_weights(launcher.session, launcher)
        yield launcher
    if launcher.diverged:
        sentence = "the loss is no longer a finite number: training diverged; lower lr in a configuration file"
        note(f"{config.model}: {sentence}", quiet=quiet)


@contextmanager
def launchers_of(
    config: Config,
    plans: Iterable[Plan],
    pool: "WorkerPool",
    settings: Settings,
    *,
    session: "Session | None" = None,
    quiet: bool,
) -> Iterator[dict[str, "Launcher"]]:
    """Get ready to run ``plans``: yield a launcher for each slicing among them, as ``launcher_of`` does."""
    with ExitStack() as stack:
        yield {
            slicing: stack.enter_context(
                launcher_of(config, pool, settings, slicing=slicing, session=session, quiet=quiet)
            )
            for slicing in dict.fromkeys(plan.slicing for plan in plans)
        }


def cores_of(options: CommonOptions, stages: int) -> tuple[int, ...]:
    """Return a core for each stage; under torchrun, that of this rank."""
    from profiler.machine import affinity_variables, usable_cores
    from runtime.pipeline import cores_for, own_cores

    usable = usable_cores(options.cores)
    if place := placement():
        return (usable[place.local_rank % len(usable)],)
    cores = cores_for(stages, usable)
    if not own_cores(cores) and (bound := affinity_variables()):
        note(
            f"{counted(len(cores), 'stage')} share {counted(len(set(cores)), 'core')}, for the environment binds "
            f"threads to cores{bound}",
            quiet=options.quiet,
        )
    return cores


def planner_of(
    options: RunningOptions, config: Config, names: Sequence[str], report: Callable[[str], None], *, quick: bool = False
) -> "Planner":
    """Return what plans ``config``, from the kept profile or one that is measured now, in short if ``quick``.

    Args:
        options: What was typed.
        config: The model, batch size and stages.
        names: The partitions that are wanted; layers are cut inside if ``sliced`` is among them.
        report: Told what was cut inside, if anything.
        quick: Whether a profile of few rounds will do.

    Raises:
        ModelError: There is no such model, or no such data.
    """
    from optimizer.planning import Planner
    from profiler.capture import find
    from profiler.machine import usable_cores
    from profiler.measure import FOLDER, path_for

    if data := options.data or config.data:
        find(data)  # before anything is measured
    core, folder = usable_cores(options.common.cores)[0], FOLDER / "quick" if quick else FOLDER
    profile = fresh_profile(
        config, core, quiet=options.common.quiet, budget_s=QUICK_BUDGET_S if quick else None, folder=folder
    )
    if SLICED not in names:
        return Planner(profile, config.stages, config.batches)
    sliced = sliced_as(
        config,
        profile,
        lambda tried: Planner(tried, config.stages, config.batches).bottleneck_s,
        core,
        path_for(config, folder),
        stages=config.stages,
        quiet=options.common.quiet,
    )
    if sliced.inside:
        report(f"{config.model}: {sliced.sentence}.")
    inside = Planner(sliced.inside, config.stages, config.batches) if sliced.inside else None
    return Planner(sliced.whole, config.stages, config.batches, inside=inside, why_whole=sliced.sentence)


def wanted_names(partitions: Sequence[str], config: Config, schemes: Schemes) -> list[str]:
    """Return the partitions that are named; of ``all``, ``sliced`` only where layers may be cut inside.

    Raises:
        ConfigError: ``sliced`` is named and ``--slice none``, or ``--slice`` says what it cannot, or nobody listens.
        PartitionError: There is no such partition.
    """
    refuse_odd_slicing(config.slice)
    names = partition_names(partitions, schemes)
    if is_explicit(config.slice) and SLICED not in names:
        raise ConfigError(f"--slice {config.slice} is of the partition sliced, which is not among {', '.join(names)}; "
                          "name it, too, or leave --slice out")  # fmt: skip
    if config.slice != NONE and config.stages > 1:
        return names
    if SLICED in partitions:
        raise ConfigError("the partition sliced cuts layers inside, and --slice none or one stage leaves them whole; "
                          "leave out one")  # fmt: skip
    return [name for name in names if name != SLICED]


def plans_of(planner: "Planner", names: list[str], schemes: Schemes, report: Callable[[str], None]) -> dict[str, Plan]:
    """Return the plans of some partitions; what the model does not allow is told to ``report``.

    Raises:
        ConfigError: The model allows none of them.
    """
    if names == [SLICED] and planner.inside is None:
        raise ConfigError(f"{planner.profile.model}: {planner.why_whole}; run the partition {OPTIMIZED}")
    plans = plans_for(names, planner, schemes, report)
    if not plans:
        raise ConfigError(f"{planner.profile.model} allows none of {', '.join(names)}; use fewer --stages")
    return plans


def named_plans(options: RunningOptions, config: Config, partitions: list[str]) -> dict[str, Plan]:
    """Return the plans of the partitions that are named, such as ``all``; what the model does not allow is said.

    Raises:
        ConfigError: The model allows none of them.
    """
    schemes = load_schemes()
    names = wanted_names(partitions, config, schemes)

    def report(sentence: str) -> None:
        note(sentence, quiet=options.common.quiet)

    return plans_of(planner_of(options, config, names, report), names, schemes, report)


def one_plan(options: RankOptions) -> tuple[Config, Plan]:
    """Return the plan to run and the configuration that goes with it.

    Raises:
        ConfigError: Not exactly one plan is named.
    """
    common = options.running.common
    if options.plan:
        return _read(options, options.plan)
    if not common.model and not common.config:
        raise ConfigError("nothing to run is named; add --plan plan.json, or --model resnet50, say")
    wanted = configs(common)
    if len(wanted) > 1:
        raise ConfigError("run takes one model; compare takes several")
    chosen = options.partition or (SLICED if is_explicit(wanted[0].slice) else OPTIMIZED)
    if len(wanted_names([chosen], wanted[0], load_schemes())) > 1:
        raise ConfigError("run takes one partition; compare takes several")
    (plan,) = named_plans(options.running, wanted[0], [chosen]).values()
    return wanted[0], plan


def refuse_without_plan(options: RankOptions) -> None:
    """Refuse to let ranks of torchrun plan for themselves, or share memory.

    Raises:
        ConfigError: They would.
    """
    if options.running.channel == "shm":
        raise ConfigError("ranks of torchrun cannot meet in shared memory; leave out --channel shm")
    if not options.plan:
        raise ConfigError(
            "every rank of torchrun needs the same plan; make one with python -m optimizer -o plan.json, and name it "
            "with --plan"
        )


def _read(options: RankOptions, path: Path) -> tuple[Config, Plan]:
    common = options.running.common
    sizes = any((common.batch_size, common.image_size, common.sample_shape, common.vocabulary))
    sizes |= common.slice is not None
    if common.model or options.partition or sizes:
        raise ConfigError("--plan names model, batch, split and slices; leave out --model, --partition, --slice and "
                          "the sizes")  # fmt: skip
    plan = read_json(path, Plan)
    if common.stages not in (None, len(plan.stages)):
        raise ConfigError(f"{path} has {counted(len(plan.stages), 'stage')}; leave out --stages {common.stages}")
    changes = {
        "batch_size": plan.batch_size,
        "sample_shape": plan.input_shape[1:],
        "vocabulary": plan.vocabulary or None,
        "slice": plan.slicing or NONE,
        "batches": common.batches,
    }
    named = configuration.load(common.config) if common.config else configuration.for_model(plan.model)
    config = configuration.override(named, changes)
    if config.model != plan.model:
        raise ConfigError(f"{path} is for {plan.model} and {common.config} for {config.model}; name a plan of the same")
    if config.rule.momenta != plan.momenta:
        raise ConfigError(
            f"{path} was planned for an update rule that keeps {counted(plan.momenta, 'tensor')} for each weight, "
            f"and {config.rule.kind} keeps {config.rule.momenta}; name the --config FILE it was made with"
        )
    return config, plan
