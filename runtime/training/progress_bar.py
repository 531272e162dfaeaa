"""Show how training goes on: a bar with epoch, loss, samples a second and the time left, on stderr."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from profiler.cli import live_console
from runtime.worker import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from runtime.training.pipeline import Pipeline


class TrainingProgress:
    """Follows the stages of ``pipeline``; to be called with what they are doing."""

    def __init__(self, bar: "Bar", task: "TaskID") -> None:
        """Draw on ``bar``, whose unit is a minibatch."""
        self._bar, self._task = bar, task
        self._before, self._words = 0, ""
        self.pipeline: Pipeline | None = None

    def __call__(self, progress: Sequence[Progress]) -> None:
        """Show how far the last stage is."""
        last = progress[-1]
        loss = "" if math.isnan(last.loss) else f", loss {last.loss:.4f}"
        samples, actions = self.pipeline.each if self.pipeline else (1, 3)
        speed = self._bar.tasks[self._task].speed or 0.0
        self._bar.update(
            self._task,
            completed=self._before + last.done / actions,
            description=f"{self._words}{loss}, {speed * samples:.1f} samples/s",
        )

    def at(self, minibatches: int, words: str) -> None:
        """Let the bar stand at so many minibatches, and say ``words`` first from now on."""
        self._before, self._words = minibatches, words
        self._bar.update(self._task, completed=minibatches)


@contextmanager
def training_progress(total: int | None) -> Iterator[TrainingProgress]:
    """Yield what shows training over ``total`` minibatches, None if nobody knows; nothing where that is no terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = live_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=console is None, transient=True, refresh_per_second=4) as bar:
        yield TrainingProgress(bar, bar.add_task("training", total=total))
