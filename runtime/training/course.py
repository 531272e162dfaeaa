"""The course of a training: what it has come to so far, as lines and as a log."""

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from profiler.cli import note
from runtime.errors import TrainingWarning
from runtime.pipeline import FOREIGN_LOAD_LIMIT, ProgressBar
from runtime.training.epochs import EpochRecord, Part
from runtime.training.pipeline import Pipeline

FIRST_EPOCH = 1
"""People count epochs from 1; files count them from 0, as programs do."""


class Course:
    """Follows a training: to be called with each part and each epoch that is trained.

    Attributes:
        records: Its epochs so far.
    """

    def __init__(self, epochs: int, log: Path | None, *, resumed: bool, sharing: bool = False) -> None:
        """Follow up to ``epochs`` epochs.

        Args:
            epochs: In all.
            log: Where to write a line a minibatch and epoch; None: nowhere.
            resumed: Whether the log is gone on with.
            sharing: Whether several stages share a core, which then works for others all the time.
        """
        self._epochs, self._log, self._sharing = epochs, LogFile(log, resumed=resumed), sharing
        self.records: list[EpochRecord] = []

    def begin(self, pipeline: Pipeline, bar: ProgressBar) -> None:
        """Follow a pipeline from where it stands, which may be a checkpoint."""
        self._pipeline, self._bar = pipeline, bar
        bar.each = lambda: pipeline.each
        self._move()

    def __call__(self, record: Part | EpochRecord) -> None:
        """Take in what was trained."""
        self._log.write(record)
        if isinstance(record, EpochRecord):
            self.records.append(record)
            note(self._line(record))
        self._move()

    def _move(self) -> None:
        epoch = min(self._pipeline.epoch + FIRST_EPOCH, self._epochs)
        self._bar.at(self._pipeline.minibatches, f"epoch {epoch}/{self._epochs}")

    def _line(self, record: EpochRecord) -> str:
        loss = "no finite number" if record.loss is None else f"{record.loss:.4f}"
        validation = "" if record.validation is None else f", validation {record.metric} {validation_words(record)}"
        where = f"epoch {record.epoch + FIRST_EPOCH}/{self._epochs}"
        if not record.minibatches:
            return f"{where}: nothing was left of it{validation}"
        noisy = not self._sharing and record.foreign_load > FOREIGN_LOAD_LIMIT
        load = f" (NOISY: a core worked for others {record.foreign_load:.0%} of the time)" if noisy else ""
        return f"{where}: mean loss {loss}{validation}, {record.samples_per_s:.1f} samples/s{load}"


def validation_words(record: EpochRecord) -> str:
    """Return the validation of an epoch: an accuracy in per cent, a loss as it is; nothing where there is none."""
    if record.validation is None:
        return ""
    return f"{record.validation:.2%}" if record.metric == "accuracy" else f"{record.validation:.4f}"


class LogFile:
    """Writes parts and epochs to a file; nowhere without a path."""

    def __init__(self, path: Path | None, *, resumed: bool) -> None:
        """Prepare to begin the file, or to go on with what a resumed run finds there: with the first record."""
        self._path, self._mode, self._torn = path, "a" if resumed else "w", resumed

    def write(self, record: Part | EpochRecord) -> None:
        """Add the lines of a part or an epoch, or warn that they cannot be written."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._torn and self._path.is_file():  # what a full disk, or a kill, has left of a line
                os.truncate(self._path, self._path.read_bytes().rfind(b"\n") + 1)
            self._torn = True
            with self._path.open(self._mode, encoding="utf-8") as file:
                self._mode = "a"
                file.writelines(json.dumps(line) + "\n" for line in lines(record))
            self._torn = False
        except OSError as error:
            words = f"cannot write {self._path}: {error.strerror or error}; these lines are lost, and training goes on"
            warnings.warn(words, TrainingWarning, stacklevel=2)


def lines(record: Part | EpochRecord) -> Iterator[dict[str, object]]:
    """Yield the lines of a part, one a minibatch, or the one of an epoch; epochs and minibatches count from 0."""
    if isinstance(record, Part):
        for number, loss in enumerate(record.losses, record.first):
            yield {"epoch": record.epoch, "minibatch": number, "loss": loss}
        return
    yield {
        "epoch": record.epoch,
        "minibatches": record.minibatches,
        "mean_loss": record.loss,
        "samples_per_s": round(record.samples_per_s, 3),
        "seconds": round(record.seconds, 3),
        f"validation_{record.metric}": record.validation,
    }
