"""The log of a training run: a line of JSON for each minibatch and each epoch, written whenever stages have paused."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from profiler.files import unwritable
from runtime.training.epochs import EpochRecord, Part


class LogFile:
    """Writes parts and epochs to a file; nowhere without a path."""

    def __init__(self, path: Path | None, *, resumed: bool) -> None:
        """Begin the file, or go on with what a resumed run finds there.

        Raises:
            FileError: It cannot be written.
        """
        self._path = path
        if path:
            self._write("", "a" if resumed else "w")
            self._cut_off_torn_line(path)

    def write(self, record: Part | EpochRecord) -> None:
        """Add the lines of a part or an epoch.

        Raises:
            FileError: They cannot be written.
        """
        if self._path:
            self._write("".join(json.dumps(line) + "\n" for line in lines(record)), "a")

    @staticmethod
    def _cut_off_torn_line(path: Path) -> None:
        """Cut off what a full disk, or a kill, has left of a line; its minibatch is trained on again."""
        if path.is_file():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)

    def _write(self, text: str, mode: str) -> None:
        assert self._path
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise unwritable(self._path, error.strerror or str(error), "give another place with --log") from error


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
