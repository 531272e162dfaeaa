"""The comparison of several partitions of one model: a frozen dataclass that is a JSON file, and all a report needs.

It holds what was asked for, who takes part, and what was measured, in order; so an unfinished file says where to go on.
All else is worked out when asked, and what is short is written beside when it is kept: a reader works it out anew.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from optimizer.what_if import Chain
from profiler.files import values_of
from profiler.profile import FP32, Layer, Machine, Seconds
from profiler.shown import Shown
from runtime.compare.audit import Audit, audit
from runtime.compare.contender import ONE_CORE, Contender, RunRecord, Spread
from runtime.compare.race import slower_than_the_leader
from runtime.compare.ranking import Ranking, ranking, ratio_of
from runtime.compare.request import Request
from runtime.results import Clock, is_comparable

FORMAT_VERSION: Literal[15] = 15


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
        plain_step_s: What the model's plain step took on one core when it was profiled.
        whole_precision: In which it runs whole, on one core or several: ``fp32``, or ``bf16`` under torch's autocast.
        contenders: Partitions, one core, and baselines, with their runs.
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
    plain_step_s: Seconds
    whole_precision: Literal["fp32", "bf16"] = FP32
    contenders: Annotated[tuple[Contender, ...], Meta(min_length=2)]
    format_version: Literal[15] = FORMAT_VERSION
    table: ClassVar[str] = "runtime.report.screen:show_comparison"

    def as_file(self) -> dict[str, Any]:
        """Return what is kept: itself, and beside it what follows."""
        contenders = [
            values_of(own)
            | self.contender(own.name).figures
            | {"ratio": self.ratio(own.name), "rank": self.rank(own.name)}
            for own in self.contenders
        ]
        order = [part.name for part in self.standing]
        return values_of(self) | {
            "comparable": self.comparable, "contenders": contenders, "order": order, "audit": self.audit,
        }  # fmt: skip

    def with_run(self, run: RunRecord) -> "Comparison":
        """Return the comparison with one more run."""
        return replace(
            self,
            contenders=tuple(
                replace(own, runs=(*own.runs, run)) if own.name == run.name else own for own in self.contenders
            ),
        )

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, in the order in which they were."""
        runs = [run for own in self.contenders for run in own.runs]
        return tuple(sorted(runs, key=lambda run: run.number))

    @property
    def comparable(self) -> bool:
        """Whether every stage had a physical core of its own, or the virtual clock stood in for it; nothing else."""
        return is_comparable(self.clock, self.core_count, len(self.request.cores))

    @cached_property
    def partitions(self) -> tuple[Contender, ...]:
        """The partitions, each with the runs that count for it."""
        runs = {own.name: own.runs for own in self.contenders}
        return tuple(replace(own, runs=runs[own.ran_as]) for own in self.contenders if own.split)

    @property
    def splits(self) -> tuple[str, ...]:
        """The partitions that run: one for each distinct split."""
        return tuple(part.name for part in self.partitions if part.same_as is None)

    @property
    def baselines(self) -> tuple[Contender, ...]:
        """The processes with several threads."""
        return tuple(own for own in self.contenders if own.threads > 1)

    @property
    def running(self) -> tuple[str, ...]:
        """All who run: the distinct splits, one core, and the baselines."""
        return tuple(own.name for own in self.contenders if own.same_as is None)

    def contender(self, name: str) -> Contender:
        """Return the contender of that name, with the runs that count for it."""
        return next(own for own in (*self.partitions, *self.contenders) if own.name == name)

    @property
    def ours(self) -> Contender:
        """The partition that ratios are about."""
        return next(part for part in self.partitions if part.name == self.reference)

    @property
    def one_core(self) -> Contender:
        """The model's plain step on one core."""
        return self.contender(ONE_CORE)

    @cached_property
    def _ranking(self) -> Ranking:
        splits = {part.name: part.by_round for part in self.partitions if part.same_as is None}
        return ranking(splits, self.ours.ran_as)

    @property
    def standing(self) -> tuple[Contender, ...]:
        """The distinct splits, fastest first."""
        return tuple(self.contender(name) for name in self._ranking.order)

    @property
    def came_through(self) -> tuple[Contender, ...]:
        """The distinct splits of which a run came through, fastest first."""
        return tuple(part for part in self.standing if part.throughput_samples_per_s)

    def rank(self, name: str) -> int | None:
        """Return 1 for the fastest partition; those that noise cannot tell apart share a rank.

        None where noise, or too few rounds with the reference, leave its place open, and of what is no partition.
        ``runtime.compare.ranking`` says how.
        """
        return self._ranking.ranks.get(self.contender(name).ran_as)

    def ratio(self, name: str) -> Spread | None:
        """Return how many times as fast the reference ran as a contender, round by round; None where none has both."""
        own = self.contender(name)
        return self._ranking.ratios.get(own.ran_as) if own.split else self.between(self.reference, name)

    def between(self, one: str, other: str) -> Spread | None:
        """Return how many times as fast one contender ran as another, round by round; None where no round has both."""
        return ratio_of(self.contender(one).by_round, self.contender(other).by_round)

    @cached_property
    def audit(self) -> Audit:
        """Prediction against measurement over the distinct splits that ran."""
        return audit(self.partitions, self.request.batch_size, self.runs, comparable=self.comparable)

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
            (done + 1, name) in have for name in self.running if name not in dropped
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
        return {
            name: {number: speed for number, speed in self.contender(name).by_round.items() if number <= done}
            for name in self.running
            if name != ONE_CORE
        }

    @cached_property
    def beaten(self) -> frozenset[str]:
        """The splits that are slower than the fastest one beyond doubt, be they in the race or not."""
        dropped = {name for name in self.splits if name in self.dropped}
        return frozenset(dropped | set(self._slower_splits(self.rounds, dropped)))

    @property
    def open(self) -> tuple[str, ...]:
        """The splits that may still be faster than the one that ran fastest, in their order."""
        return tuple(part.name for part in self.came_through[1:] if part.name not in self.beaten)

    @property
    def complete(self) -> bool:
        """Whether every round that was asked for is done."""
        return self.rounds >= self.request.repeats
