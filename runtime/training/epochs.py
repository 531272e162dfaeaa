"""Train over epochs: with validation, checkpoints, and a way to go on where a run ended."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from runtime.errors import RunError
from runtime.training.checkpoint import generators
from runtime.training.pipeline import Minibatches, Pipeline


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
        loss: The mean over its minibatches; None where one was no finite number.
        seconds: In which stages worked on it.
        accuracy: On the validation loader, if there is one.
    """

    epoch: int
    minibatches: int
    samples: int
    loss: float | None
    seconds: float
    accuracy: float | None

    @property
    def samples_per_s(self) -> float:
        """The throughput."""
        return self.samples / self.seconds if self.seconds else 0.0


class Paused(KeyboardInterrupt):
    """Ctrl-C came; what had been read was trained, and ``kept`` says where the checkpoint is, if there is one."""

    def __init__(self, pipeline: Pipeline, kept: Path | None) -> None:
        """Remember how far it came."""
        super().__init__()
        self.epoch, self.position, self.kept = pipeline.epoch, pipeline.position, kept


def train_epochs(
    pipeline: Pipeline,
    loaders: Loaders,
    epochs: int,
    *,
    limit: int | None,
    checkpoint: Path | None,
    every: int | None,
    report: Callable[[Part | EpochRecord], None],
) -> list[EpochRecord]:
    """Train until ``epochs`` are complete in all, those before a resumed checkpoint included.

    Args:
        pipeline: What trains, from where it is.
        loaders: Iterated anew for each epoch.
        epochs: How many.
        limit: How many minibatches an epoch has at most; None: all.
        checkpoint: Where to write one at the end of every epoch; None: nowhere.
        every: Write one after every so many minibatches, too.
        report: Called with each part and each epoch.

    Raises:
        Paused: Ctrl-C came.
        InputError, RunError, FileError: As ``Pipeline.train`` and ``Pipeline.save``.
    """
    records = []
    while pipeline.epoch < epochs:
        began = generators()
        try:
            record = _epoch(
                pipeline, loaders, limit=limit, checkpoint=checkpoint, every=every, began=began, report=report
            )
            records.append(record)
        except KeyboardInterrupt:
            kept = None
            if checkpoint and pipeline.alive:
                pipeline.save(checkpoint, began)
                kept = checkpoint
            raise Paused(pipeline, kept) from None
    return records


def _epoch(
    pipeline: Pipeline,
    loaders: Loaders,
    *,
    limit: int | None,
    checkpoint: Path | None,
    every: int | None,
    began: dict[str, Any],
    report: Callable[[Part | EpochRecord], None],
) -> EpochRecord:
    losses: list[float | None] = []
    samples, seconds = 0, 0.0
    for part in _parts(loaders, pipeline.position, limit, every):
        first = pipeline.position
        result = pipeline.train(part, minibatches=len(part) if isinstance(part, _Known) else None)
        report(Part(epoch=pipeline.epoch, first=first, losses=result.losses))
        losses += result.losses
        samples, seconds = samples + result.samples, seconds + result.seconds
        if checkpoint and every and result.minibatches == every:
            pipeline.save(checkpoint, began)
    numbers = [loss for loss in losses if loss is not None]
    accuracy = None if loaders.validation is None else pipeline.evaluate(loaders.validation)
    record = EpochRecord(
        epoch=pipeline.epoch,
        minibatches=len(losses),
        samples=samples,
        loss=sum(numbers) / len(numbers) if len(numbers) == len(losses) and numbers else None,
        seconds=seconds,
        accuracy=accuracy,
    )
    pipeline.epoch, pipeline.position = pipeline.epoch + 1, 0
    if checkpoint:
        pipeline.save(checkpoint)
    report(record)
    return record


class _Known:
    """So many minibatches of an iterator that several parts share."""

    def __init__(self, iterator: Iterator[Any], count: int) -> None:
        self._iterator, self._count = iterator, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return itertools.islice(self._iterator, self._count)


def _parts(loaders: Loaders, position: int, limit: int | None, every: int | None) -> Iterator[Minibatches]:
    """Yield the parts of an epoch, each an iterable, from the minibatch ``position`` on."""
    iterator = iter(loaders.training)
    skipped = sum(1 for _ in itertools.islice(iterator, position))
    if skipped < position:
        raise RunError(f"the checkpoint is {position} minibatches into an epoch, and the data have {skipped}; go on "
                       "with the data that it was trained on")  # fmt: skip
    length = loaders.length
    if length is None:
        while (ahead := next(iterator, None)) is not None:
            rest = itertools.chain([ahead], iterator)
            left = min(every or limit or 0, (limit or 0) - position) if limit else every
            yield itertools.islice(rest, left) if left else rest
            position += left or 0
            if limit and position >= limit:
                return
        return
    end = min(length, limit or length)
    while position < end:
        count = min(every or end, end - position)
        yield _Known(iterator, count)
        position += count
