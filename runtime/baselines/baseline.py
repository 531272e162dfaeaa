"""A baseline by name, and which of them are wanted."""

from dataclasses import dataclass
from typing import Literal

from profiler.profile import Name

BaselineChoice = Literal["none", "threads", "all"]
"""No baseline, one process with a thread for each stage, or all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A baseline, which runs on the same cores in the same rounds as the splits.

    Attributes:
        tuned: Whether it runs under our process settings; otherwise as installed.
        update_every: How many minibatches an update takes.
    """

    name: Name
    tuned: bool
    update_every: int

    @property
    def semantics(self) -> str:
        """What one update is."""
        every = "a minibatch" if self.update_every == 1 else f"for {self.update_every} minibatches"
        return f"synchronous, one update {every}"

    @property
    def row(self) -> str:
        """The baseline's name, with how it was set up."""
        return f"{self.name}, {'tuned' if self.tuned else 'as installed'}"
