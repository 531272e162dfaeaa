"""A pipeline that trains a model which is in memory, watches it learn, and hands its weights back."""

import math
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from torch import Tensor

from optimizer.plan import Plan, scheduled, waiting_words
from optimizer.schedule import Pace, ScheduleName, schedule_of
from profiler.capture import (
    SEED,
    LossFunction,
    Model,
    Sample,
    captured_live,
    inputs_of,
    live_model,
    refuse_unfaithful_briefly,
)
from profiler.errors import one_line
from profiler.execution import TensorSpec
from profiler.machine import draining, expect_processes, refuse_reimport, usable_cores
from profiler.profile import PLAIN_FORM
from profiler.python_arguments import AboveZero, Cores, Count, Hint, python_face
from profiler.report import counted
from profiler.settings import DEFAULT_RULE, Update
from runtime.errors import Drained, InputError, RunError, TrainingWarning
from runtime.hosts import Session
from runtime.pipeline import PATIENCE_S, Execution, cores_for, one_by_one, pool_of, without_tensors
from runtime.results import ChannelName, TrainingResult
from runtime.supervisor import Watch
from runtime.training.checkpoint import (
    Checkpoint,
    checkpoint_bytes,
    generators,
    read_checkpoint,
    remedy,
    restore,
    write_checkpoint,
    written_anywhere,
)
from runtime.training.evaluate import Metric, evaluated, metric_of
from runtime.training.learning_rates import Rates, learning_rate_of
from runtime.training.model_state import ModelState
from runtime.worker import Settings

Minibatches = Iterable[Any]
"""Pairs (inputs, targets), or, where the model returns its loss, inputs by name."""
DEFAULT: ScheduleName = "zero-bubble"
"""The schedule to train under."""
CLEARANCE = 4
"""So many times as many minibatches as stages: what a schedule needs does not grow with more."""


class Pipeline:
    """Trains a model in a pipeline of stage processes, one a core; a context manager that leaves none behind.

    Example::

        with Pipeline(model, plan, update=SGD(lr=0.01, momentum=0.9)) as pipeline:
            for epoch in range(10):
                result = pipeline.train(loader)
                print(result.losses[-1], pipeline.evaluate(validation_loader))
        model.load_state_dict(pipeline.state_dict())

    The model that is given stays as it is. ``train``, ``evaluate``, ``state_dict`` and ``save`` may follow each other
    in any order, in the thread that entered the context; all but ``train`` also after it.

    Attributes:
        minibatches: How many minibatches it has trained on.
        updates: How many weight updates that were.
        last: What the last call of ``train`` trained, also where it raised; None where a stage failed.
        epoch: How many epochs are complete, as the caller counts them; ``position``, how many minibatches were trained
            on since ``position`` was last set to 0. Both are kept in checkpoints.
    """

    @python_face
    def __init__(
        self,
        model: Model,
        plan: Annotated[Plan, Hint("make one with stageplan.plan(profile, stages=4)")],
        *,
        update: Update = DEFAULT_RULE,
        learning_rate: Rates = None,
        sample: Sample | None = None,
        loss: LossFunction | None = None,
        schedule: ScheduleName | None = None,
        update_every: Count | None = None,
        channel: ChannelName = "shm",
        cores: Cores | None = None,
        seed: int = SEED,
        stall_timeout_s: AboveZero | None = None,
        watch: Watch | None = None,
        session: Session | None = None,
    ) -> None:
        """Capture a copy of the model, which has to be the one that was planned for.

        Args:
            model: On the CPU, with any weights.
            plan: Where it is cut.
            update: The update rule.
            learning_rate: The learning rate of each update, a function of how many there have been before, or a number
                for all; None: that of ``update``.
            sample: A minibatch as the model was profiled on, where it takes several inputs, by name or in order.
            loss: ``loss(output, targets)``, one number; None for cross-entropy; ``model`` for what the model returns.
            schedule: What a stage does next; None: as planned, if all samples of an update use the same weights then,
                else ``zero-bubble``.
            update_every: How many of the loader's minibatches an update takes; None: one, which is cut into parts of
                as many samples as planned, for the stages to work on side by side (but not under ``1f1b``).
            channel: How stages hand tensors on.
            cores: Which cores to use; None: those that this process may use.
            seed: What is random in layers, such as dropout, is drawn from.
            stall_timeout_s: How long one action may take before its stage counts as hung, and the loader for a
                minibatch; None: by its prediction, and five minutes.
            watch: Called now and then during training with what every stage is doing; the last one has the last loss.
            session: With whom this process runs the plan; None: alone.

        Raises:
            ModelError, CaptureError: The model cannot be captured, or sent to other processes.
            InputError: ``update_every`` is given to a schedule without.
            ConfigError: An argument cannot be what it is, or the schedule cannot run with so few minibatches an update.
            ProcessError: This process may not use one of the cores.
        """
        refuse_reimport()
        expect_processes()
        usable_cores(cores or ())
        rate = learning_rate_of(learning_rate)
        drawn = inputs_of(plan.input_shape, plan.vocabulary, torch.Generator().manual_seed(seed))
        live = live_model(model, drawn if sample is None else sample, loss, plan.model)
        if tuple(live.inputs.shape) != plan.input_shape:
            raise InputError(f"the sample is of another size than the plan is for ({live.called.words(live.inputs)}); "
                             "give a minibatch like the one that was profiled")  # fmt: skip
        bare = without_tensors(live.model, [*live.model.parameters(), *live.model.buffers()])
        whole = captured_live(live)
        refuse_unfaithful_briefly(whole, live.inputs)
        self._captured = whole if plan.form == PLAIN_FORM else captured_live(live, plan.form)
        self._plan, self._cores = plan, cores or ()
        own = self._captured.model
        self._tensors: dict[str, Tensor] | None = {**dict(own.named_parameters()), **dict(own.named_buffers())}
        self._settings = Settings(
            rule=update, seed=seed, pace=training_pace(plan, schedule, update_every), channel=channel,
            learning_rate=rate, vocabulary=plan.vocabulary,
        )  # fmt: skip
        self._model = ModelState(bare, self._captured, self._settings)
        self._cut = update_every is None and self._settings.pace.rule.synchronous
        self._stall_timeout_s, self._watch, self._session = stall_timeout_s, watch, session or Session()
        self._stack, self._busy = ExitStack(), threading.Lock()
        self._phase: Literal["new", "entered", "left"] = "new"
        self._execution: Execution | None = None
        self.minibatches = self.updates = self.epoch = self.position = self._parts = 0
        self.last: TrainingResult | None = None
        self._counted, self._warned, self._each = True, False, (0, 1)

    def __repr__(self) -> str:
        """Return in one line what is trained, how far, and whether its processes run."""
        stages, pace = counted(len(self._plan.stages), "stage"), self._settings.pace.words
        trained = f"{counted(self.minibatches, 'minibatch')} and {counted(self.updates, 'update')} trained"
        processes = {"new": "not started", "left": "ended"}.get(self._phase, "running" if self.alive else "failed")
        return f"<Pipeline of {self._plan.model}: {stages}, {pace}; {trained}; processes {processes}>"

    @python_face
    def __enter__(self) -> Self:
        """Start the stage processes.

        Raises:
            RunError: One does not start, or they have been started before.
            InputError: Other ranks have built something else.
        """
        if self._phase != "new":
            raise RunError("a pipeline is entered once; make another one, and give it the weights or a checkpoint")
        self._phase, start, self._tensors = "entered", self._tensors, None
        cores = cores_for(len(self._plan.stages), usable_cores(self._cores))
        cores = (cores[self._session.rank],) if self.distributed else cores
        with ExitStack() as stack:
            pool = stack.enter_context(pool_of(cores, self._stall_timeout_s, self._session))
            self._execution = stack.enter_context(
                Execution(
                    self._captured, pool, self._settings, self._watch, self._session, start=start, updates=self.updates
                )
            )
            del start
            self._captured = self._execution.captured
            self._execution.agree_on_weights()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        """End the stage processes; the weights stay here, unless a stage has failed or ranks share them."""
        with self._stack, suppress(*((RunError,) if kind else ())):
            try:
                if self._execution and self.alive and not self.distributed:
                    self._tensors = self._state()
                    self._execution.unload()
            finally:
                self._phase, self._execution = "left", None

    @python_face
    def train(self, loader: Minibatches, *, minibatches: Count | None = None) -> TrainingResult:
        """Train over a loader once, from the weights, momenta and update count that are there.

        It is read in this process, in a thread of its own, once, and fed to the first and the last stage. Ctrl-C reads
        no more: what has been read is trained, and then ``KeyboardInterrupt`` is raised.

        Args:
            loader: Yields pairs (inputs, targets), or inputs alone where the model returns its loss. A minibatch may
                have any number of samples where it is an update of its own, else not more than planned.
            minibatches: How many at most; None: all there are.

        Returns:
            Losses, throughput and times of the stages.

        Raises:
            InputError: The data cannot be used, or do not come; the whole updates before are trained.
            RunError: A loss is no number, or a stage failed; what was trained since the last checkpoint is lost.
        """
        with self._alone("train"):
            self.last = None
            execution = self._entered("train")
            reader = execution.read(loader, "the data of the loader", cut=self._cut)
            try:
                self._load(execution, reader.target_spec())
                self._look_at(reader.first_samples, reader.parts_of(reader.first_samples))
                with draining(execution.stop) as pressed:
                    self._counted = False
                    before = self.minibatches, self._parts
                    self.last, parts, failure = execution.train(reader, minibatches, before)
                    result = self.last
                    self.minibatches += result.minibatches
                    self.position += result.minibatches
                    self.updates += math.ceil(
                        result.minibatches / (1 if self._cut else self._settings.pace.update_every)
                    )
                    self._parts += parts
                    self._counted = True
                    if isinstance(failure, Drained) and pressed:
                        failure = Drained(pressed[0])
                    # Ctrl-C ends the processes of a DataLoader, too, which then raises.
                    if failure and not (pressed and isinstance(failure, InputError)):
                        raise failure
            finally:
                reader.close()
            return result

    def _look_at(self, samples: int, parts: int) -> None:
        """Note how large a minibatch is; warn, once, where it has too few parts to keep all stages busy."""
        before, self._each = self._each, (samples, parts)
        if self._warned or before == self._each:
            return
        plan, enough = self._plan, 2 * len(self._plan.stages) - 1
        every = parts if self._cut else self._settings.pace.update_every
        pace = replace(self._settings.pace, update_every=every)
        sentence = waiting_words(scheduled(plan, schedule_of(pace, len(plan.stages), 4 * every)))
        if not sentence:
            return
        self._warned = True
        if self._cut:
            fit = samples // enough
            remedy = f"plan for {counted(fit, 'sample')}" if fit else f"give minibatches of {enough} samples or more"
            sentence = f"the loader's minibatches of {samples} samples are cut into {every}: {sentence}; {remedy}"
        warnings.warn(sentence, TrainingWarning, stacklevel=4)

    @property
    def metric_name(self) -> str:
        """What ``evaluate`` returns where no metric is given: ``accuracy``, or ``loss`` where that is one's own."""
        return metric_of(self._captured.loss)[0]

    @python_face
    def evaluate(self, loader: Minibatches, metric: Metric | None = None) -> float:
        """Return the mean of a metric over a loader's samples or labels, with the weights as they are now.

        The plain model runs in this process, in eval mode, on minibatches of any size; training afterwards is what it
        would have been without.

        Args:
            loader: Yields pairs (inputs, targets), or inputs alone where the model returns its loss.
            metric: ``metric(output, targets)``: a number for the minibatch, which weighs as many as that has samples,
                or one for each of what it counts, samples or labels. None: the share of labels whose class scores
                highest, or the loss where that is one's own.

        Raises:
            InputError: The loader holds nothing that counts, or the model cannot be run on it.
        """
        with self._alone("evaluate"):
            tensors, value = self._weights(), 0.0
            if self._session.leads:
                measure = metric or metric_of(self._captured.loss)[1]
                value = evaluated(self._model.plain_model(tensors), self._patiently(loader), measure)
            return self._session.exchange(value, float)[0]

    @python_face
    def state_dict(self) -> dict[str, Tensor]:
        """Return what ``state_dict`` of the model would with the weights as they are now."""
        with self._alone("state_dict"):
            return {
                key: tensor.detach() for key, tensor in self._model.plain_model(self._weights()).state_dict().items()
            }

    @python_face
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from the parameters and buffers in ``state``; momenta and counts stay.

        Raises:
            InputError: It is not of this model.
        """
        with self._alone("load_state_dict"):
            self._go_on_from(self._state() | self._model.tensors_of(state, "the state_dict"))

    @python_face
    def save(self, path: str | Path, states: dict[str, Any] | None = None) -> None:
        """Write a checkpoint, from which any split can go on.

        Args:
            path: Where.
            states: What ``generators`` returned when the epoch began; None: as they are now.

        Raises:
            FileError: It cannot be written; what was there before still is.
        """
        with self._alone("save"):
            if checkpoint := self._checkpoint(states):
                write_checkpoint(Path(path), checkpoint)

    def save_anywhere(self, path: Path, states: dict[str, Any] | None) -> Path:
        """Write a checkpoint that must not be lost: as ``save``, or with a warning to a folder of temporary files.

        Returns:
            Where it is.
        """
        with self._alone("save"):
            checkpoint = self._checkpoint(states)
            return written_anywhere(path, lambda place: write_checkpoint(place, checkpoint)) if checkpoint else path

    def _checkpoint(self, states: dict[str, Any] | None) -> Checkpoint | None:
        """Return a checkpoint as of now; None where another rank writes it."""
        tensors = self._state()
        if not self._session.leads:
            return None
        if not all(tensors[path].isfinite().all() for path in self._captured.learning):
            raise RunError("the weights are no finite numbers, and no checkpoint is written: training diverged; lower "
                           "lr in a configuration file, and go on from the last checkpoint")  # fmt: skip
        return self._model.checkpoint(
            tensors, minibatches=self.minibatches, parts=self._parts, updates=self.updates, epoch=self.epoch,
            position=self.position, generators=states or generators(),
        )  # fmt: skip

    @python_face
    def resume(self, path: str | Path) -> None:
        """Go on from a checkpoint: weights, momenta, counts, and the state of the generators that loaders draw from.

        The numbers of the update rule and the learning rate are those of this pipeline, whatever they were before.
        Where several ranks run the pipeline, the first reads it and hands it to the others.

        Raises:
            FileError: It cannot be read.
            InputError: It is of another model, kind of update rule, or seed.
        """
        with self._alone("resume"):
            checkpoint = self._read(Path(path))
            try:
                tensors = self._model.resumed(checkpoint, Path(path))
                restore(checkpoint.generators)
            except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                raise InputError(f"{path} is no checkpoint of this model ({one_line(error)}); {remedy()}") from error
            self.updates = checkpoint.updates
            self._go_on_from(tensors)
            self.minibatches, self._parts = checkpoint.minibatches, checkpoint.parts
            self.epoch, self.position = checkpoint.epoch, checkpoint.position
            if self._execution:
                self._execution.agree_on_weights()

    def _read(self, path: Path) -> Checkpoint:
        if self._execution is None:
            return read_checkpoint(path)
        content = checkpoint_bytes(path) if self._session.leads else b""
        return read_checkpoint(path, self._session.spread(content))

    def _weights(self) -> dict[str, Tensor]:
        """Return the parameters and buffers as they are now."""
        return self._execution.state_dict() if self._execution and self.alive else self._state()

    def _state(self) -> dict[str, Tensor]:
        """Return all that training goes on from, as it is now."""
        if self._execution and self.alive:
            return self._execution.training_state()
        if self._tensors is None:
            raise RunError("the weights have gone with the stage processes; make a pipeline anew, and resume the last "
                           "checkpoint")  # fmt: skip
        return self._tensors

    def _go_on_from(self, tensors: dict[str, Tensor]) -> None:
        """Let training go on from ``tensors``."""
        if self._execution:
            self._entered("this").start_from(tensors, self.updates)
        else:
            self._tensors = tensors

    def _load(self, execution: Execution, target: TensorSpec) -> None:
        """Have the stages loaded for targets that look like ``target``."""
        if execution.target != target:
            if execution.phase == "loaded":
                execution.start_from(execution.training_state(), self.updates)
            enough = max(CLEARANCE * len(self._plan.stages), 3 * self._settings.pace.update_every)
            execution.load(self._plan, enough, target=target)

    def _patiently(self, loader: Minibatches) -> Iterator[Any]:
        """Yield what a loader does, and refuse to wait for it for ever."""
        yield from one_by_one(loader, "the data to evaluate on", self._stall_timeout_s or PATIENCE_S)

    @property
    def update_words(self) -> str:
        """What an update takes, in a sentence without a full stop."""
        samples = self._plan.batch_size
        if not self._cut:
            return self._settings.pace.update_words(samples)
        return f"an update takes a minibatch of the loader, in parts of {counted(samples, 'sample')} or fewer"

    @property
    def each(self) -> tuple[int, float]:
        """How many samples a minibatch of the loader has, by its first, and how many actions it takes a stage."""
        samples, parts = self._each
        pace = self._settings.pace
        return samples, (2 + pace.rule.splits) * parts + 1 / (1 if self._cut else pace.update_every)

    @property
    def distributed(self) -> bool:
        """Whether other processes have some of the stages."""
        return self._session.distributed

    @property
    def alive(self) -> bool:
        """Whether the stage processes are there, and hold what was counted: a second Ctrl-C may come in between."""
        return self._execution is not None and self._execution.phase != "ended" and self._counted

    def _entered(self, what: str) -> Execution:
        if self._execution is None:
            raise RunError(f"{what} needs the stage processes; use the pipeline in a with statement")
        if self._execution.phase == "ended":
            raise RunError("the stage processes have ended with the failure before; make a pipeline anew, and resume "
                           "the last checkpoint")  # fmt: skip
        return self._execution

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        """Refuse to do two things at once."""
        if not self._busy.acquire(blocking=False):
            raise RunError(
                f"{what} cannot run while another thread uses this pipeline; wait for it, or make a second one"
            )
        try:
            yield
        finally:
            self._busy.release()


def training_pace(plan: Plan, schedule: ScheduleName | None, update_every: int | None) -> Pace:
    """Return the schedule to train under: the plan's, where it computes plain updates and nothing else is said."""
    usual = plan.schedule if plan.pace.rule.synchronous else DEFAULT
    pace = plan.pace.changed(schedule or usual, len(plan.stages), update_every)
    if update_every not in {None, pace.update_every}:
        raise InputError(f"update_every={update_every} says nothing to {pace.name}, which updates after each minibatch")
    return pace
