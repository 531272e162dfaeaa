"""The log of a training run: a line of JSON for each minibatch and each epoch, written whenever stages have paused."""

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import TrainingWarning
from runtime.training.epochs import EpochRecord, Part


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
