"""Train over epochs: with validation, checkpoints, and a way to go on where a run ended."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from profiler.errors import StageplanError, one_line
from runtime.errors import InputError
from runtime.results import TrainingResult
from runtime.training.checkpoint import generators
from runtime.training.pipeline import Minibatches

T = TypeVar("T")


class Trainer(Protocol):
    """What trains: a ``Pipeline``, or one process without any."""

    minibatches: int
    epoch: int
    position: int
    last: TrainingResult | None

    @property
    def alive(self) -> bool:
        """Whether it can go on."""

    @property
    def distributed(self) -> bool:
        """Whether several processes were started to share the work."""

    @property
    def metric_name(self) -> str:
        """What ``evaluate`` returns."""

    def train(self, loader: Minibatches, *, minibatches: int | None = None) -> TrainingResult:
        """Train over a loader once."""

    def evaluate(self, loader: Minibatches) -> float:
        """Return the mean of its metric over a loader's samples."""

    def save(self, path: Path, states: dict[str, Any] | None = None) -> None:
        """Write a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaders:
    """What is trained on, and what the model is evaluated on after each epoch, if anything."""

    training: Minibatches
    validation: Minibatches | None = None

    @property
    def length(self) -> int | None:
        """How many minibatches an epoch has; None where the loader does not say."""
        try:
            return len(self.training)  # type: ignore[arg-type]
        except TypeError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What was trained without a pause: an epoch, or what lies between two checkpoints of one.

    Attributes:
        epoch: Counted from 0; ``first``, the number of the first minibatch in it.
    """

    epoch: int
    first: int
    losses: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch, or what a resumed run had left of it.

    Attributes:
        epoch: Counted from 0.
        loss: The mean over its minibatches; None where there were none, or one was no finite number.
        seconds: In which stages worked on it.
        metric: What ``validation`` is: ``accuracy``, or ``loss`` where that is one's own.
        validation: On the validation loader, if there is one.
    """

    epoch: int
    minibatches: int
    samples: int
    loss: float | None
    seconds: float
    metric: str
    validation: float | None

    @property
    def samples_per_s(self) -> float:
        """How many samples were trained on in a second."""
        return self.samples / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Beside:
    """An epoch in a pipeline, and in one process."""

    pipeline: EpochRecord
    plain: EpochRecord


def beside(pipeline: Sequence[EpochRecord], plain: Sequence["Part | EpochRecord"]) -> list[Beside]:
    """Return the epochs of both, as far as there are."""
    others = [record for record in plain if isinstance(record, EpochRecord)]
    return [Beside(own, other) for own, other in zip(pipeline, others, strict=False)]


Report = Callable[[Part | EpochRecord], None]


class Paused(KeyboardInterrupt):
    """Ctrl-C came; what had been read was trained, and ``kept`` says where the checkpoint is, if there is one."""

    def __init__(self, pipeline: Trainer, kept: Path | None) -> None:
        """Remember how far it came."""
        super().__init__()
        self.epoch, self.position, self.kept = pipeline.epoch, pipeline.position, kept


def train_epochs(
    pipeline: Trainer,
    loaders: Loaders,
    epochs: int,
    *,
    limit: int | None,
    checkpoint: Path | None,
    every: int | None,
    report: Report,
) -> list[EpochRecord]:
    """Train until ``epochs`` are complete in all, those before a resumed checkpoint included.

    Args:
        pipeline: What trains, from where it is.
        loaders: Iterated anew for each epoch.
        epochs: How many.
        limit: How many minibatches an epoch has at most; None: all.
        checkpoint: Where to write one at the end of every epoch, and where data cannot be used; None: nowhere.
        every: Write one after every so many minibatches, too.
        report: Called with each part and each epoch.

    Raises:
        Paused: Ctrl-C came.
        InputError, RunError, FileError: As ``Pipeline.train`` and ``Pipeline.save``.
    """
    records = []
    while pipeline.epoch < epochs:
        began, epoch = generators(), pipeline.epoch
        try:
            record = _epoch(
                pipeline, loaders, limit=limit, checkpoint=checkpoint, every=every, began=began, report=report
            )
        except (KeyboardInterrupt, InputError) as error:
            alone = pipeline.alive and not pipeline.distributed  # where not, others are not about to save
            kept = checkpoint if checkpoint and alone and pipeline.minibatches else None
            if kept:
                pipeline.save(kept, began if pipeline.epoch == epoch else None)
            if isinstance(error, InputError):
                raise
            raise Paused(pipeline, kept) from None
        records.append(record)
    return records


def _epoch(
    pipeline: Trainer,
    loaders: Loaders,
    *,
    limit: int | None,
    checkpoint: Path | None,
    every: int | None,
    began: dict[str, Any],
    report: Report,
) -> EpochRecord:
    results: list[TrainingResult] = []
    epoch, before = pipeline.epoch, pipeline.position
    for part, count in _parts(loaders, before, limit, every):
        first = pipeline.position
        try:
            results.append(pipeline.train(part, minibatches=count))
        finally:
            if pipeline.last is not None:
                report(Part(epoch=epoch, first=first, losses=pipeline.last.losses))
        if checkpoint and every and results[-1].minibatches == every:
            pipeline.save(checkpoint, began)
    if not results and not before:
        raise InputError("the data hold no minibatch, or can be gone through only once; give a loader, such as a "
                         "DataLoader, that starts anew for each epoch")  # fmt: skip
    pipeline.epoch, pipeline.position = epoch + 1, 0
    if checkpoint:
        pipeline.save(checkpoint)
    losses = [loss for result in results for loss in result.losses]
    numbers = [loss for loss in losses if loss is not None]
    record = EpochRecord(
        epoch=epoch,
        minibatches=len(losses),
        samples=sum(result.samples for result in results),
        loss=sum(numbers) / len(numbers) if len(numbers) == len(losses) and numbers else None,
        seconds=sum(result.seconds for result in results),
        metric=pipeline.metric_name,
        validation=None if loaders.validation is None else pipeline.evaluate(loaders.validation),
    )
    report(record)
    return record


def _parts(
    loaders: Loaders, position: int, limit: int | None, every: int | None
) -> Iterator[tuple[Minibatches, int | None]]:
    """Yield the parts of an epoch from the minibatch ``position`` on: what to read, and how many at most."""
    iterator = _tried(lambda: iter(loaders.training))
    skipped = _tried(lambda: sum(1 for _ in itertools.islice(iterator, position)))
    if skipped < position:
        raise InputError(f"the checkpoint is {position} minibatches into an epoch, and the data have {skipped}; go on "
                         "with the data that it was trained on")  # fmt: skip
    length = loaders.length
    end = limit if length is None else min(length, limit or length)
    while end is None or position < end:
        count = every if end is None else min(every or end, end - position)
        if length is None:  # then there may be no more
            ahead = _tried(lambda: list(itertools.islice(iterator, 1)))
            if not ahead:
                return
            yield itertools.chain(ahead, iterator), count
            if count is None:
                return
        else:
            yield iterator, count
        assert count is not None
        position += count


def _tried(step: Callable[[], T]) -> T:
    """Return what ``step`` gives, which runs a loader's own code.

    Raises:
        InputError: It raises.
    """
    try:
        return step()
    except StageplanError:
        raise
    except Exception as error:
        raise InputError(f"the data of the loader raised {type(error).__name__}: {one_line(error)}") from error
