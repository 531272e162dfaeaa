"""The log of a training run: a line of JSON for each minibatch and each epoch, written as they come."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from profiler.files import unwritable
from runtime.training.epochs import EpochRecord, Part


@contextmanager
def training_log(path: Path | None, *, resumed: bool) -> Iterator[Callable[[Part | EpochRecord], None]]:
    """Yield what writes parts and epochs to ``path``, after what a resumed run finds there; nowhere without a path.

    Raises:
        FileError: It cannot be written.
    """
    if path is None:
        yield lambda _record: None
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if resumed else "w", encoding="utf-8") as file:

            def write(record: Part | EpochRecord) -> None:
                file.writelines(json.dumps(line) + "\n" for line in lines(record))
                file.flush()

            yield write
    except OSError as error:
        raise unwritable(path, error.strerror or str(error), "give another place with --log") from error


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
        "validation_accuracy": record.accuracy,
    }
