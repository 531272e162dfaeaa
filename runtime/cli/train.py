"""``python -m runtime train``: train a model over epochs in a pipeline, keep checkpoints, and write its weights."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import optimizer.report
import profiler.capture
import profiler.machine
import runtime.hosts
import runtime.pipeline
import runtime.training
from optimizer.schedule import PLAIN_1F1B, Pace, pace_of
from profiler.cli import configs, emit_json, note, note_anyway, option, positive
from profiler.errors import ConfigError, FileError
from profiler.machine import pass_on, taking
from profiler.output_files import OutputKind, refuse_unwritable
from profiler.report import counted
from profiler.settings import Config
from runtime.cli.options import RankOptions, settings_of
from runtime.cli.plans import one_plan, refuse_without_plan
from runtime.errors import TrainingWarning
from runtime.hosts import agree_on_plan, joined, written_since_launch

if TYPE_CHECKING:
    from torch import Tensor

    from optimizer.plan import Plan
    from runtime.hosts import Session
    from runtime.pipeline import ProgressBar
    from runtime.training import Course, Loaders, Paused, Pipeline

WRITTEN: dict[str, OutputKind] = {
    "--save": "weights",
    "--checkpoint": "checkpoint",
    "--log": "log",
}
"""What is written to the file that an option names."""
FAILED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions(RankOptions):
    """The options of ``train``."""

    epochs: Annotated[int, option("epochs in all (1)", type=positive, metavar="N")] = 1
    resume: Annotated[Path | None, option("go on from this checkpoint", type=Path, metavar="FILE")] = None
    checkpoint: Annotated[
        Path | None, option("write one here after every epoch", under="output", type=Path, metavar="FILE")
    ] = None
    every: Annotated[
        int | None, option("and after every N minibatches", under="output", type=positive, metavar="N")
    ] = None
    save: Annotated[
        Path | None, option("write the trained state_dict here", under="output", type=Path, metavar="FILE.pt")
    ] = None
    log: Annotated[
        Path | None, option("write a line a minibatch and epoch", under="output", type=Path, metavar="FILE.jsonl")
    ] = None

    def pace(self, stages: int, planned: Pace = PLAIN_1F1B) -> Pace:
        """Return the pace to train at: plain updates, where nothing is said."""
        usual = planned if planned.rule.synchronous else pace_of(runtime.training.DEFAULT, stages)
        return RankOptions.pace(self, stages, usual)

    @property
    def written(self) -> dict[str, Path]:
        """The files that are going to be written, by their options."""
        files = {"--save": self.save, "--checkpoint": self.checkpoint, "--log": self.log}
        return {flag: path for flag, path in files.items() if path}


def train(options: TrainOptions) -> int:
    """Train over epochs, here or as one of several ranks, and write what is asked for."""
    _refuse_odd(options)
    profiler.machine.expect_processes()
    with joined(options.rank_timeout_s, options.stall_timeout_s) as session:
        if session.distributed:
            refuse_without_plan(options)
        if session.leads:
            for flag, path in options.written.items():
                refuse_unwritable(path, WRITTEN[flag], flag)
        _refuse_without_data(options)
        options = replace(options, resume=_start(options, session))
        if options.resume and session.leads:
            runtime.training.read_checkpoint(options.resume)
        config, plan = one_plan(options, trains=True)
        settings = settings_of(options, config, plan.pace)
        if options.every and options.update_every and options.every % options.update_every:
            raise ConfigError(
                f"--every {options.every} would stop in the middle of an update of {options.update_every} "
                "minibatches; let the one be a multiple of the other"
            )
        agree_on_plan(session, plan, config, settings)
        return _trained(options, config, plan, session)


def _start(options: TrainOptions, session: "Session") -> Path | None:
    """Return the checkpoint to go on from: that of an attempt before this one, where torchrun has started it anew."""
    path = options.checkpoint
    kept = session.exchange(session.leads and path is not None and written_since_launch(path), bool)[0]
    return path if kept else options.resume


def _refuse_without_data(options: TrainOptions) -> None:
    named = configs(options) if options.config or not options.plan else []
    if not (options.data or any(config.data for config in named)):
        raise ConfigError("there is nothing to train on; name a factory of a loader with --data package.module:factory")


def _refuse_odd(options: TrainOptions) -> None:
    """Refuse options that contradict each other."""
    if options.every and not options.checkpoint:
        raise ConfigError("--every says how often to write a checkpoint; say where with --checkpoint")
    files = {flag: path.resolve() for flag, path in options.written.items()}
    read = {"--plan": options.plan, "--resume": options.resume}
    files |= {flag: path.resolve() for flag, path in read.items() if path}
    for flag, path in files.items():
        for other, same in files.items():
            if flag < other and path == same and (flag, other) != ("--checkpoint", "--resume"):
                raise ConfigError(f"{flag} and {other} name one file, {path}; give each its own")


def _trained(options: TrainOptions, config: Config, plan: "Plan", session: "Session") -> int:
    """Train, and write what is asked for; return the exit code."""
    resumed = options.resume is not None
    stages, cores = len(plan.stages), runtime.pipeline.core_count(runtime.pipeline.cores_of(config, len(plan.stages)))
    sharing = cores < stages and not session.distributed
    if sharing:
        note(optimizer.report.not_these_cores(stages, cores, "plans for those"))
    log = options.log if session.leads else None
    course = runtime.training.Course(options.epochs, log, resumed=resumed, sharing=sharing)
    elsewhere, unwritten = False, None
    try:
        with redirect_stdout(sys.stderr), _warnings_as_notes():  # what user code prints is no result
            state, unwritten = _carry_out(options, config, plan, session, course)
            if session.leads and options.save:
                write = partial(runtime.training.write_tensors, content=state, option="--save")
                place = runtime.training.written_anywhere(options.save, write)
                note(f"the trained weights are in {place}")
                elsewhere = place != options.save
    except runtime.training.Paused as pause:
        pause.add_note(_pause_words(pause, pause.checkpoint or options.resume))
        raise
    if session.leads and options.json:
        emit_json(course.records)
    if unwritten:
        raise unwritten
    return FAILED if elsewhere else 0


def _carry_out(
    options: TrainOptions, config: Config, plan: "Plan", session: "Session", course: "Course"
) -> "tuple[dict[str, Tensor] | None, FileError | None]":
    """Train; return the weights if they are to be saved, and why the last checkpoint was not written, if so."""
    loaders = runtime.training.Loaders.named(config.data)
    if session.distributed:
        runtime.hosts.agree(session, _facts(options, loaders))
    length = min([each for each in (loaders.length, options.batches) if each is not None], default=None)
    total = None if length is None else length * options.epochs
    with (
        runtime.pipeline.progress_bar("training", total) as bar,
        _pipeline(options, config, plan, session, bar) as pipeline,
    ):
        if options.resume:
            pipeline.resume(options.resume)
            _say_where(options, pipeline)
        course.begin(pipeline, bar)
        note(f"{plan.model}: {pipeline.update_words}")
        unwritten = None
        try:
            with _stopping_together(session):
                runtime.training.train_epochs(
                    pipeline, loaders, options.epochs, limit=options.batches, checkpoint=options.checkpoint,
                    every=options.every, report=course,
                )  # fmt: skip
        except FileError as error:  # after which there is still --save
            unwritten = error
        return pipeline.state_dict() if options.save else None, unwritten


def _pipeline(
    options: TrainOptions, config: Config, plan: "Plan", session: "Session", bar: "ProgressBar"
) -> "Pipeline":
    """Return the pipeline that is asked for."""
    settings = settings_of(options, config, plan.pace)
    model = profiler.capture.build(config.model, config.classes, profiler.capture.SEED)
    first = profiler.capture.several_inputs(config, model)
    modelled = config.loss == profiler.capture.MODEL_LOSS
    return runtime.training.Pipeline(
        model, plan, update=config.rule, learning_rate=runtime.training.configured_rates(config),
        sample=first.given if first else None,
        loss="model" if modelled else profiler.capture.find(config.loss) if config.loss else None,
        schedule=settings.pace.name, update_every=options.update_every, channel=settings.channel,
        cores=tuple(dict.fromkeys(runtime.pipeline.cores_of(config, len(plan.stages)))), seed=profiler.capture.SEED,
        stall_timeout_s=options.stall_timeout_s, watch=bar, session=session,
    )  # fmt: skip


def _pause_words(pause: "Paused", checkpoint: Path | None) -> str:
    """Say how far training came, and how it goes on."""
    where = f"interrupted in epoch {pause.epoch + runtime.training.FIRST_EPOCH}"
    if pause.whole:
        where += f" after {counted(pause.position, 'minibatch')}"
    if checkpoint is None:
        return f"{where}; nothing of it is kept, for no checkpoint was written: --checkpoint names where"
    kept = f"{checkpoint} has all of it" if pause.whole else f"what came since {checkpoint} was written is lost"
    return f"{where}; {kept}: to go on, repeat the command with --resume {checkpoint}"


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Say what training warns of as we say things; all else that warns does as it did."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
        if issubclass(category, TrainingWarning):
            note_anyway(str(message))
        else:
            usual(message, category, *rest, **named)

    with warnings.catch_warnings():
        warnings.simplefilter("always", TrainingWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _stopping_together(session: "Session") -> Iterator[None]:
    """Let the first signal that a rank among others gets stop all of them, also between two calls of ``train``."""

    def stop(number: int) -> None:
        if session.stopping:
            pass_on(stop, number)
        session.stop()

    with taking(stop) if session.distributed else nullcontext():
        yield


def _facts(options: TrainOptions, loaders: "Loaders") -> dict[str, str]:
    """Return the options that have to be the same on all ranks, by name."""
    given = (("--save", options.save), ("--checkpoint", options.checkpoint), ("--resume", options.resume))
    return {
        "number of epochs": str(options.epochs),
        "number of minibatches an epoch": f"{loaders.length} {options.batches}",
        "--every": str(options.every),
        "set of files": " ".join(flag for flag, path in given if path),
        "validation": str(loaders.validation is not None),
    }


def _say_where(options: TrainOptions, pipeline: "Pipeline") -> None:
    where = f"{counted(pipeline.epoch, 'epoch')} and {counted(pipeline.position, 'minibatch')}"
    note(f"going on from {options.resume}, after {where}; the learning rate is the one given now")
    if pipeline.epoch >= options.epochs:
        note(
            f"nothing is left to do: {options.resume} has {counted(pipeline.epoch, 'epoch')} complete, and --epochs "
            f"{options.epochs} counts those, too; add --epochs {pipeline.epoch + 1} or more to go on",
        )
