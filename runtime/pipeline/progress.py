"""Show how a run or a training goes on, on stderr: a bar with its loss, its samples a second and the time left."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from profiler.cli import live_console
from runtime.worker import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class ProgressBar:
    """Follows stages; to be called with what they are doing.

    Attributes:
        each: Returns how many samples a minibatch has, and how many actions it takes a stage.
    """

    def __init__(self, bar: "Bar", task: "TaskID", words: str) -> None:
        """Draw on ``bar``, whose unit is a minibatch, and say ``words`` first."""
        self._bar, self._task, self._words, self._before = bar, task, words, 0
        self.each: Callable[[], tuple[int, float]] = lambda: (1, 3)

    def __call__(self, progress: Sequence[Progress]) -> None:
        """Show how far the last stage is."""
        last = progress[-1]
        loss = "" if math.isnan(last.loss) else f", loss {last.loss:.4f}"
        samples, actions = self.each()
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
def progress_bar(words: str, total: int | None) -> Iterator[ProgressBar]:
    """Yield what shows work on ``total`` minibatches, None if nobody knows; nothing where that is no terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = live_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=console is None, transient=True, refresh_per_second=4) as bar:
        yield ProgressBar(bar, bar.add_task(words, total=total), words)
