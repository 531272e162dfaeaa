"""Train over epochs: with validation, checkpoints, and a way to go on where a run ended."""

import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler.capture import SEED, made
from profiler.errors import ConfigError, FileError
from profiler.rounds import foreign_load
from runtime.errors import Drained, InputError, NoMinibatchError, RunError, TrainingWarning
from runtime.pipeline import Rest
from runtime.results import TrainingResult
from runtime.training.checkpoint import generators
from runtime.training.pipeline import Minibatches, Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaders:
    """What is trained on, and what the model is evaluated on after each epoch, if anything."""

    training: Minibatches
    validation: Minibatches | None = None

    @classmethod
    def named(cls, name: str) -> "Loaders":
        """Return what the factory ``package.module:factory`` makes: a loader, or two, the second to validate on."""
        with redirect_stdout(sys.stderr):  # what user code prints is no result
            loaders: Any = made(name, SEED)
        pair = loaders if isinstance(loaders, tuple) else (loaders, None)
        if len(pair) != 2 or not isinstance(pair[0], Iterable):
            raise ConfigError(
                f"the data factory '{name}' returned a {type(loaders).__name__}; it has to return a loader of pairs "
                "(inputs, targets), or two: one to train on, and one to validate on"
            )
        return cls(training=pair[0], validation=pair[1])

    @property
    def length(self) -> int | None:
        """How many minibatches an epoch has; None where the loader does not say."""
        try:
            return len(self.training)  # type: ignore[arg-type]
        except TypeError:
            return None
        except Exception as error:
            raise InputError(f"the loader raised {type(error).__name__} when asked for its length: {error}") from error


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
        foreign_load: Share of the time in which a stage's core worked for others, the largest; other stages count, too.
    """

    epoch: int
    minibatches: int
    samples: int
    loss: float | None
    seconds: float
    metric: str
    validation: float | None
    foreign_load: float = 0.0

    @property
    def samples_per_s(self) -> float:
        """How many samples were trained on in a second."""
        return self.samples / self.seconds if self.seconds else 0.0


Report = Callable[[Part | EpochRecord], None]


class Paused(Drained):
    """Ctrl-C or SIGTERM came, and what had been read was trained, unless a second one ended that.

    Attributes:
        epoch: How far training came, with ``position``.
        checkpoint: The last one that was written, if any; ``whole``, whether it has all that was trained.
    """

    def __init__(
        self, interrupt: KeyboardInterrupt, pipeline: Pipeline, checkpoint: Path | None, *, whole: bool
    ) -> None:
        """Remember how far it came; its arguments are those of the interrupt."""
        super().__init__(*interrupt.args)
        self.epoch, self.position = pipeline.epoch, pipeline.position
        self.checkpoint, self.whole = checkpoint, whole


class _Checkpoints:
    """Writes checkpoints of a training, which goes on where one cannot be written.

    Attributes:
        last: The one that was written last.
        failure: Why the last was not written; None where it was.
    """

    def __init__(self, pipeline: Pipeline, path: Path | None) -> None:
        """Write them to ``path``; nowhere where that is None."""
        self._pipeline, self._path = pipeline, path
        self.last: Path | None = None
        self.failure: FileError | None = None

    def write(self, states: dict[str, Any] | None = None) -> None:
        """Write one, or warn that it cannot be written; ``states`` is as of ``Pipeline.save``."""
        if self._path:
            try:
                self._pipeline.save(self._path, states)
                self.last, self.failure = self._path, None
            except FileError as error:
                self.failure = FileError(str(error))  # without what the traceback holds
                warnings.warn(f"{error}; training goes on", TrainingWarning, stacklevel=2)

    def write_anywhere(self, states: dict[str, Any] | None, error: BaseException) -> bool:
        """Write the last one before training ends with an error, to another folder where need be; say whether it is."""
        together = not self._pipeline.distributed or isinstance(error, Drained)  # else others do not
        if not (self._path and self._pipeline.alive and together and self._pipeline.minibatches):
            return False
        try:
            self.last = self._pipeline.save_anywhere(self._path, states)
        except FileError as unwritten:
            warnings.warn(str(unwritten), TrainingWarning, stacklevel=2)
            return False
        return True


def train_epochs(
    pipeline: Pipeline,
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
    """
    records, checkpoints = [], _Checkpoints(pipeline, checkpoint)
    while pipeline.epoch < epochs:
        began, epoch = generators(), pipeline.epoch
        try:
            record = _epoch(
                pipeline, loaders, limit=limit, checkpoints=checkpoints, every=every, began=began, report=report
            )
        except (KeyboardInterrupt, InputError, RunError) as error:
            states = began if pipeline.epoch == epoch else None
            whole = not isinstance(error, RunError) and checkpoints.write_anywhere(states, error)
            if isinstance(error, Drained) or (isinstance(error, KeyboardInterrupt) and not pipeline.distributed):
                raise Paused(error, pipeline, checkpoints.last, whole=whole) from None
            if checkpoints.last:
                much = "all" if whole else "a part of all"
                error.add_note(f"{checkpoints.last} has {much} that was trained before; resume it to go on")
            raise
        records.append(record)
    if checkpoints.failure:
        raise checkpoints.failure
    return records


def _epoch(
    pipeline: Pipeline,
    loaders: Loaders,
    *,
    limit: int | None,
    checkpoints: _Checkpoints,
    every: int | None,
    began: dict[str, Any],
    report: Report,
) -> EpochRecord:
    results: list[TrainingResult] = []
    epoch, before = pipeline.epoch, pipeline.position
    left, length = _from(loaders.training, before), loaders.length
    end = limit if length is None else min(length, limit or length)
    begun = False
    while end is None or pipeline.position < end:
        begun, count = True, every if end is None else min(every or end, end - pipeline.position)
        first = pipeline.position
        try:
            results.append(pipeline.train(Rest(left, first), minibatches=count))
        except NoMinibatchError:  # whatever length the loader says that it has
            break
        finally:
            if pipeline.last is not None:
                report(Part(epoch=epoch, first=first, losses=pipeline.last.losses))
        trained = results[-1].minibatches
        if every and trained == every:
            checkpoints.write(began)
        if count is None or trained < count:
            break
    if before and not begun:
        _begun(loaders.training, before)  # for what that draws, the next epoch has to draw after
    if not before and not any(result.minibatches for result in results):
        raise InputError("the data hold no minibatch, or can be gone through only once; give a loader, such as a "
                         "DataLoader, that starts anew for each epoch")  # fmt: skip
    pipeline.epoch, pipeline.position = epoch + 1, 0
    checkpoints.write()
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
        foreign_load=_foreign_load(results),
    )
    report(record)
    return record


def _foreign_load(results: Sequence[TrainingResult]) -> float:
    """Return the share of the time in which a stage's core worked for others, the largest of the stages."""
    stages = zip(*(result.stages for result in results), strict=True)
    return max((foreign_load([one.work_s for one in own], [one.cpu_s for one in own]) for own in stages), default=0.0)


def _from(loader: Minibatches, position: int) -> Iterator[Any]:
    """Yield a loader's minibatches from number ``position`` on; it is iterated where the first is asked for."""
    yield from _begun(loader, position)


def _begun(loader: Minibatches, position: int) -> Iterator[Any]:
    """Return an iterator over a loader that has come to minibatch ``position``."""
    minibatches = iter(loader)
    skipped = sum(1 for _ in itertools.islice(minibatches, position))
    if skipped < position:
        raise InputError(f"the checkpoint is {position} minibatches into an epoch, and the data have {skipped}; go on "
                         "with the data that it was trained on")  # fmt: skip
    return minibatches
