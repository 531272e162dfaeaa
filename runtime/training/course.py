"""The course of a training: what it has come to so far, as lines, a log, a table, and the learning curve."""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from profiler.cli import note
from profiler.report import ResultTable, drawing
from runtime.errors import TrainingWarning
from runtime.pipeline import ProgressBar
from runtime.training.epochs import EpochRecord, Part
from runtime.training.pipeline import Pipeline

if TYPE_CHECKING:
    from rich.console import Console


SHOWN = 20
"""So many epochs the table has at most: the last ones."""
FIRST_EPOCH = 1
"""People count epochs from 1; files count them from 0, as programs do."""


class Course:
    """Follows a training: to be called with each part and each epoch that is trained.

    Attributes:
        records: Its epochs so far.
    """

    def __init__(self, epochs: int, log: Path | None, *, resumed: bool) -> None:
        """Follow up to ``epochs`` epochs.

        Args:
            epochs: In all.
            log: Where to write a line a minibatch and epoch; None: nowhere.
            resumed: Whether the log is gone on with.
        """
        self._epochs, self._log = epochs, LogFile(log, resumed=resumed)
        self.records: list[EpochRecord] = []
        self._losses: list[float | None] = []
        self._first, self._ends = 0, list[int]()

    def begin(self, pipeline: Pipeline, bar: ProgressBar) -> None:
        """Follow a pipeline from where it stands, which may be a checkpoint."""
        self._pipeline, self._bar, self._first = pipeline, bar, pipeline.minibatches
        bar.each = lambda: pipeline.each
        self._move()

    def __call__(self, record: Part | EpochRecord) -> None:
        """Take in what was trained."""
        self._log.write(record)
        if isinstance(record, Part):
            self._losses.extend(record.losses)
        else:
            self.records.append(record)
            self._ends.append(self._pipeline.minibatches)
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
        return f"{where}: mean loss {loss}{validation}, {record.samples_per_s:.1f} samples/s"

    def learning_curve(self, model: str) -> bytes:
        """Return an SVG of the loss of every minibatch, and the validation after every epoch."""
        values = [record.validation for record in self.records]
        validated = [(end, value) for end, value in zip(self._ends, values, strict=True) if value is not None]
        panels = 2 if validated else 1
        with drawing(f"{model}, learning curve", 8.0, 6.0 if validated else 3.5, panels) as drawn:
            numbers = [float("nan") if loss is None else loss for loss in self._losses]
            drawn.axes[0].plot(range(self._first + 1, self._first + 1 + len(numbers)), numbers, linewidth=0.8)
            drawn.axes[0].set_ylabel("loss of a minibatch")
            drawn.axes[0].set_title(model)
            if validated:
                drawn.axes[1].plot(*zip(*validated, strict=True), marker="o")
                drawn.axes[1].set_ylabel(f"validation {self.records[-1].metric}")
            drawn.axes[-1].set_xlabel("minibatches trained")
        return drawn.svg


def show_epochs(model: str, records: Sequence[EpochRecord], console: "Console") -> None:
    """Print a table of epochs."""
    metric = records[-1].metric if records else "accuracy"
    table = ResultTable(
        f"{model}: the last {len(records[-SHOWN:])} epochs" if len(records) > SHOWN else f"{model}: epochs",
        ("epoch", "minibatches", "mean loss", f"validation {metric}", "samples/s", "s"),
        first_out=("s", "minibatches"),
    )
    for record in records[-SHOWN:]:
        table.add_row(
            str(record.epoch + FIRST_EPOCH), str(record.minibatches),
            "–" if record.loss is None else f"{record.loss:.4f}",
            validation_words(record), f"{record.samples_per_s:.1f}", f"{record.seconds:.1f}",
        )  # fmt: skip
    console.print(table)


def validation_words(record: EpochRecord) -> str:
    """Return the validation of an epoch: an accuracy in per cent, a loss as it is; nothing where there is none."""
    if record.validation is None:
        return ""
    return f"{record.validation:.2%}" if record.metric == "accuracy" else f"{record.validation:.4f}"


class LogFile:
    """Writes parts and epochs to a file; nowhere without a path."""

    def __init__(self, path: Path | None, *, resumed: bool) -> None:
        """Prepare to begin the file, or to go on with what a resumed run finds there: with the first record."""
        self._path, self._begun, self._goes_on = path, resumed, resumed
        self._pending, self._failing = "", False

    def write(self, record: Part | EpochRecord) -> None:
        """Add the lines of a part or an epoch; where they cannot be written, warn, and try again with the next."""
        if self._path:
            self._pending += "".join(json.dumps(line) + "\n" for line in lines(record))
            try:
                self._add_pending(self._path)
                self._failing = False
            except OSError as error:
                if not self._failing:
                    words = f"cannot write {self._path}: {error.strerror or error}; training goes on, and tries again"
                    warnings.warn(words, TrainingWarning, stacklevel=2)
                self._failing = True

    def _add_pending(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = "a" if self._begun else "w"
        if self._goes_on:
            self._cut_off_torn_line(path)
            self._goes_on = False
        size = path.stat().st_size if mode == "a" and path.is_file() else 0
        try:
            with path.open(mode, encoding="utf-8") as file:
                file.write(self._pending)
        except OSError:
            if path.is_file():
                os.truncate(path, size)
            raise
        self._begun, self._pending = True, ""

    @staticmethod
    def _cut_off_torn_line(path: Path) -> None:
        """Cut off what a full disk, or a kill, has left of a line; its minibatch is trained on again."""
        if path.is_file():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)


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
