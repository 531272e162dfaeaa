"""The comparison of several partitions of one model: a frozen dataclass that is a JSON file, and all a report needs.

It holds what was asked for, who takes part, and what was measured, in order; so an unfinished file says where to go on.
All else is worked out when asked, and what is short is written beside when it is kept: a reader works it out anew.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from optimizer.what_if import Chain
from profiler.files import values_of
from profiler.profile import FP32, Layer, Machine, Seconds
from profiler.shown import Shown
from runtime.compare.audit import Audit, audit
from runtime.compare.contender import ONE_CORE, Contender, RunRecord
from runtime.compare.posterior import Estimate, Posterior, Speeds, posterior
from runtime.compare.race import out_of_the_race
from runtime.compare.ranking import Ranking, decided, ranking
from runtime.compare.request import Request
from runtime.results import Clock, is_comparable

FORMAT_VERSION: Literal[19] = 19
FEWEST_ROUNDS = 2
"""However clear the first round was, there is a second: one run may have met with anything."""


@dataclass(frozen=True, slots=True)
class RaceState:
    """How far the race of a comparison is.

    Attributes:
        rounds: How many are done.
        dropped: Who is out, each with the round after which it was.
        over: Whether more rounds would not change the answer.
    """

    rounds: int
    dropped: dict[str, int]
    over: bool


@dataclass(frozen=True, kw_only=True)
class Comparison(Shown):
    """Several partitions of one model, run in turn on the same cores.

    Attributes:
        request: What was asked for; ``request.repeats`` are the rounds, ``rounds`` those that are done.
        clock: ``virtual`` where stages took turns on the cores: then times of partitions are those of a machine with a
            core for every stage, worked out from what each action took.
        core_count: How many physical cores the stages had.
        left_out: What does not run, and why: partitions that the model does not allow, or plain PyTorch.
        forms: What was chosen of precision and slices, in sentences; nothing where nothing was.
        reference: The partition that ratios are about.
        command: What was typed; ``typed``, the options in it that name the model and its minibatch.
        layers: As profiled, all whole, without the samples.
        chain: What they cost along their captured order, for a page in which cuts are moved.
        plain_step_s: What the model's plain step took on one core when it was profiled.
        whole_precision: In which it runs whole, on one core or several: ``fp32``, or ``bf16`` under torch's autocast.
        contenders: Partitions, one core, and plain PyTorch, with their runs.
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
    layers: tuple[Layer, ...]
    chain: Chain | None = None
    plain_step_s: Seconds
    whole_precision: Literal["fp32", "bf16"] = FP32
    contenders: Annotated[tuple[Contender, ...], Meta(min_length=2)]
    format_version: Literal[19] = FORMAT_VERSION
    table: ClassVar[str] = "runtime.report.screen:show_comparison"

    def as_file(self) -> dict[str, Any]:
        """Return what is kept: itself, and beside it what follows."""
        contenders = [
            values_of(own)
            | self.contender(own.name).figures
            | {
                "throughput_samples_per_s": self.speed(own.name),
                "behind": self.behind(own.name),
                "rank": self.rank(own.name),
            }
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
    def plain(self) -> Contender | None:
        """Plain PyTorch; None where it was left out."""
        return next((own for own in self.contenders if own.threads > 1), None)

    @property
    def unsplit(self) -> tuple[Contender, ...]:
        """What one would run instead of a split: the plain step on one core, and plain PyTorch."""
        return tuple(own for own in self.contenders if own.threads)

    @property
    def running(self) -> tuple[str, ...]:
        """All who run: the distinct splits, one core, and plain PyTorch."""
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
    def _posterior(self) -> Posterior:
        """What all runs say."""
        return posterior(self._speeds(self.request.repeats))

    @cached_property
    def ranking(self) -> Ranking:
        """How the distinct splits stand to each other."""
        return ranking(self._posterior, self.splits, self.rounds, self.dropped)

    @property
    def standing(self) -> tuple[Contender, ...]:
        """The distinct splits, fastest first."""
        return tuple(self.contender(name) for name in self.ranking.order)

    @property
    def came_through(self) -> tuple[Contender, ...]:
        """The distinct splits of which a run came through, fastest first."""
        return tuple(part for part in self.standing if part.by_round)

    def rank(self, name: str) -> int | None:
        """Return 1 for the fastest partition and what cannot be told from it, else the place in the order.

        None of what did not run, and of what is no partition. ``runtime.compare.ranking`` says how.
        """
        return self.ranking.ranks.get(self.contender(name).ran_as)

    def speed(self, name: str) -> Estimate | None:
        """Return the speed of a contender, in samples/s; None where no run came through.

        One core's and plain PyTorch's are on the wall clock.
        """
        name = self.contender(name).ran_as
        return self._posterior.speed(name) if name in self._posterior.names else None

    def is_out(self, name: str) -> bool:
        """Say whether a split is out of the race, and behind the fastest for that, whatever its few runs leave open."""
        name, first = self.contender(name).ran_as, self.ranking.order[0]
        return name in self.dropped and first not in self.dropped

    def behind(self, name: str) -> Estimate | None:
        """Return how many times as fast the fastest split is as a contender; None where either did not run."""
        return self.between(self.ranking.order[0], name)

    def between(self, one: str, other: str) -> Estimate | None:
        """Return how many times as fast one contender is as another; None where either did not run."""
        one, other = self.contender(one).ran_as, self.contender(other).ran_as
        return self._posterior.ratio(one, other) if {one, other} <= set(self._posterior.names) else None

    @cached_property
    def audit(self) -> Audit:
        """Prediction against measurement over the distinct splits that ran."""
        return audit(self.partitions, self.request.batch_size, self.runs, comparable=self.comparable)

    @property
    def rounds(self) -> int:
        """The number of rounds that are done."""
        return self.race.rounds

    @property
    def dropped(self) -> dict[str, int]:
        """Who is out of the race, each with the round after which it was."""
        return self.race.dropped

    @property
    def complete(self) -> bool:
        """Whether there are no more rounds: all that were asked for are done, or more would not change the answer."""
        return self.rounds >= self.request.repeats or self.race.over

    @cached_property
    def race(self) -> RaceState:
        """How far the race is: splits race against each other; the plain step and plain PyTorch run in every round."""
        have = {(run.round, run.name) for run in self.runs}
        promises = {part.name: part.predicted_throughput_samples_per_s for part in self.partitions}
        done, dropped, over = 0, dict[str, int](), False
        while (
            done < self.request.repeats
            and not over
            and all((done + 1, name) in have for name in self.running if name not in dropped)
        ):
            done += 1
            if not self.request.full:
                speeds = self._speeds(done)
                out = out_of_the_race({name: speeds[name] for name in self.splits}, promises)
                dropped = {name: dropped.get(name, done) for name in out}
                over = done >= FEWEST_ROUNDS and self._settled(speeds, done, out)
        return RaceState(done, dropped, over)

    def _settled(self, speeds: Speeds, done: int, out: list[str]) -> bool:
        """Say whether some rounds tell which split is the fastest, and whether it is faster than what runs unsplit."""
        known = posterior(speeds)
        ranked = ranking(known, self.splits, done, out)
        return ranked.firm and all(
            decided(known.ratio(ranked.order[0], own.name)) for own in self.unsplit if speeds[own.name]
        )

    def _speeds(self, done: int) -> Speeds:
        """Return the throughput of all who run by round, in the rounds up to one."""
        return {
            name: {number: speed for number, speed in self.contender(name).by_round.items() if number <= done}
            for name in self.running
        }
