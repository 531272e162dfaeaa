"""Show what training came to: a table of its epochs, and the learning curve as a drawing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiler.report import ResultTable, drawing
from runtime.training.epochs import EpochRecord

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 20
"""So many epochs the table has at most: the last ones."""


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
            str(record.epoch + 1), str(record.minibatches), "–" if record.loss is None else f"{record.loss:.4f}",
            validation_words(record), f"{record.samples_per_s:.1f}",
            f"{record.seconds:.1f}",
        )  # fmt: skip
    console.print(table)


def validation_words(record: EpochRecord) -> str:
    """Return the validation of an epoch: an accuracy in per cent, a loss as it is; nothing where there is none."""
    if record.validation is None:
        return ""
    return f"{record.validation:.2%}" if record.metric == "accuracy" else f"{record.validation:.4f}"


def learning_curve(
    model: str, losses: Sequence[float | None], first: int, records: Sequence[EpochRecord], ends: Sequence[int]
) -> bytes:
    """Return the learning curve as an SVG: the loss of every minibatch, and the validation after every epoch.

    Args:
        model: Its name.
        losses: One a minibatch.
        first: How many minibatches there were before these.
        records: The epochs.
        ends: After how many minibatches each of them ended.
    """
    pairs = [(end, record.validation) for end, record in zip(ends, records, strict=True)]
    validated = [(end, value) for end, value in pairs if value is not None]
    with drawing(f"{model}, learning curve", 8.0, 6.0 if validated else 3.5, panels=2 if validated else 1) as drawn:
        numbers = [float("nan") if loss is None else loss for loss in losses]
        drawn.axes[0].plot(range(first + 1, first + 1 + len(numbers)), numbers, linewidth=0.8)
        drawn.axes[0].set_ylabel("loss of a minibatch")
        drawn.axes[0].set_title(model)
        if validated:
            drawn.axes[1].plot(*zip(*validated, strict=True), marker="o")
            drawn.axes[1].set_ylabel(f"validation {records[-1].metric}")
        drawn.axes[-1].set_xlabel("minibatches trained")
    return drawn.svg
