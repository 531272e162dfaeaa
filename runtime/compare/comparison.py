"""The comparison of several partitions of one model: a frozen dataclass that is a JSON file, and all a report needs.

It holds what was asked for, who takes part, and what was measured, in order; so an unfinished file says where to go on.
All else is worked out when asked, and written beside when it is kept: a reader works it out anew.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from optimizer.what_if import Chain
from profiler.files import values_of
from profiler.profile import Layer, Machine
from profiler.shown import Shown
from runtime.baselines import Baseline
from runtime.compare.outcome import Spread, Summary
from runtime.compare.race import slower_than_the_leader
from runtime.compare.ranking import ratio_of, rounds_of
from runtime.compare.records import ONE_CORE, OneCore, Partition, Request, RunRecord
from runtime.compare.summary import summary_of
from runtime.results import Clock, is_comparable

FORMAT_VERSION: Literal[14] = 14


@dataclass(frozen=True, kw_only=True)
class Comparison(Shown):
    """Several partitions of one model, run in turn on the same cores.

    Attributes:
        request: What was asked for; ``request.repeats`` are the rounds, ``rounds`` those that are done.
        clock: ``virtual`` where stages took turns on the cores: then times of partitions are those of a machine with a
            core for every stage, worked out from what each action took.
        core_count: How many physical cores the stages had.
        left_out: What does not run, and why: partitions that the model does not allow, baselines that want more cores.
        forms: What was chosen of precision and slices, in sentences; nothing where nothing was.
        reference: The partition that ratios are about.
        profile_warnings: What casts doubt on the profile behind the predictions.
        command: What was typed; ``typed``, the options in it that name the model and its minibatch.
        layers: As profiled, all whole, without the samples.
        chain: What they cost along their captured order, for a page in which cuts are moved.
        summary: All that follows from the runs.
    """

    request: Request
    model_digest: str
    clock: Clock
    core_count: int
    left_out: tuple[str, ...]
    forms: str = ""
    reference: str
    machine: Machine
    began_at: str
    command: str
    typed: tuple[str, ...] = ()
    profile_warnings: tuple[str, ...]
    layers: tuple[Layer, ...]
    chain: Chain | None = None
    partitions: Annotated[tuple[Partition, ...], Meta(min_length=1)]
    one_core: OneCore
    baselines: tuple[Baseline, ...]
    runs: tuple[RunRecord, ...]
    format_version: Literal[14] = FORMAT_VERSION
    table: ClassVar[str] = "runtime.report.comparison_table:show_comparison"

    @cached_property
    def summary(self) -> Summary:
        """All that follows from the runs."""
        return summary_of(
            self.partitions, self.baselines, self.runs,
            reference=self.reference, batch_size=self.request.batch_size, comparable=self.comparable,
        )  # fmt: skip

    def as_file(self) -> dict[str, Any]:
        """Return what is kept: itself, and beside it what follows."""
        summary = self.summary
        return values_of(self) | {
            "comparable": self.comparable,
            "partitions": summary.partitions,
            "order": summary.order,
            "one_core": values_of(self.one_core) | values_of(summary.one_core),
            "baselines": [
                values_of(baseline) | values_of(own, but="baseline")
                for baseline, own in zip(self.baselines, summary.baselines, strict=True)
            ],
            "audit": summary.audit,
        }

    @property
    def comparable(self) -> bool:
        """Whether every stage had a physical core of its own, or the virtual clock stood in for it; nothing else."""
        return is_comparable(self.clock, self.core_count, len(self.request.cores))

    @property
    def ours(self) -> Partition:
        """The partition that ratios are about."""
        return next(part for part in self.partitions if part.name == self.reference)

    @property
    def rounds(self) -> int:
        """The number of rounds that are done."""
        return self.race[0]

    @property
    def dropped(self) -> dict[str, int]:
        """Who is out of the race, each with the round after which it was."""
        return self.race[1]

    @cached_property
    def race(self) -> tuple[int, dict[str, int]]:
        """How many rounds are done, and whom they have dropped, each with the round after which it was.

        Splits race against each other; a baseline races against all. The reference, which ratios are about, and the
        plain step run in every round.
        """
        have = {(run.round, run.name) for run in self.runs}
        done, dropped = 0, dict[str, int]()
        while done < self.request.repeats and all(
            (done + 1, name) in have for name in self.contenders if name not in dropped
        ):
            done += 1
            if not self.request.full:
                dropped |= dict.fromkeys(self._slower_after(done, dropped), done)
        return done, dropped

    def _slower_after(self, done: int, dropped: Collection[str]) -> list[str]:
        """Return whom one more round drops."""
        speeds = self._speeds(done)
        slower = self._slower_splits(done, dropped)
        slower += set(slower_than_the_leader(speeds, speeds.keys() - dropped, done)) - set(self.splits)
        return [name for name in slower if name != self.reference]

    def _slower_splits(self, done: int, dropped: Collection[str]) -> list[str]:
        """Return which splits that are still in the race are slower than the fastest beyond doubt."""
        speeds = self._speeds(done)
        splits = {name: speeds[name] for name in self.splits}
        return slower_than_the_leader(splits, splits.keys() - dropped, done)

    def _speeds(self, done: int) -> dict[str, dict[int, float]]:
        """Return the throughput of splits and baselines by round, of those that are done."""
        speeds: dict[str, dict[int, float]] = {name: {} for name in self.contenders if name != ONE_CORE}
        for run in self.runs:
            if run.name in speeds and run.failure is None and run.round <= done:
                speeds[run.name][run.round] = run.throughput_samples_per_s
        return speeds

    @cached_property
    def beaten(self) -> frozenset[str]:
        """The splits that are slower than the fastest one beyond doubt, be they in the race or not."""
        dropped = {name for name in self.splits if name in self.dropped}
        return frozenset(dropped | set(self._slower_splits(self.rounds, dropped)))

    @property
    def open(self) -> tuple[str, ...]:
        """The splits that may still be faster than the one that ran fastest, in their order."""
        return tuple(part.name for part in self.summary.came_through[1:] if part.name not in self.beaten)

    def between(self, one: str, other: str) -> Spread | None:
        """Return how many times as fast one contender ran as another, round by round; None where no round has both."""
        return ratio_of(rounds_of(self.runs, one), rounds_of(self.runs, other))

    @property
    def splits(self) -> tuple[str, ...]:
        """The partitions that run: one for each distinct split."""
        return tuple(part.name for part in self.partitions if part.same_as is None)

    @property
    def contenders(self) -> tuple[str, ...]:
        """All contenders: the distinct splits, one core, and the baselines."""
        return (*self.splits, ONE_CORE, *(baseline.row for baseline in self.baselines))

    def own_layer(self, name: str) -> str:
        """Return the model's own layer that a layer of a plan is, or is a block or the concat of."""
        return name if any(layer.name == name for layer in self.layers) else name.rpartition(".")[0]

    @property
    def complete(self) -> bool:
        """Whether every round that was asked for is done."""
        return self.rounds >= self.request.repeats
