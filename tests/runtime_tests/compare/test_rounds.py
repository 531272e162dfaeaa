"""The order of a comparison's runs, with an execution that only pretends: interleaved, resumable, undeterred."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from math import sin
from typing import Any

import pytest
from comparisons import asked, comparison, empty, plans
from paces import some_schedule
from runs import run_of

from optimizer.plan import Plan, scheduled
from profiler.profile import Form
from runtime.compare import ONE_CORE, Comparison, compare, steps
from runtime.compare.rounds import duration, expected_s
from runtime.errors import InputError, RunError, TooLargeError
from runtime.report.findings import race
from runtime.results import RunResult

NAMES = ("optimized", "end-load", "middle-load")


MADE = run_of("gpipe", 20, [1.0, 1.0], every=1)


def result(plan: Plan, throughput: float) -> RunResult:
    stages = tuple(replace(own, whole=replace(own.whole, peak_rss_bytes=5)) for own in MADE.stages)
    return replace(MADE, plan=plan, throughput_samples_per_s=throughput, makespan_s=16 / throughput, stages=stages)


class Fake:
    """An execution that notes what it is told to run."""

    def __init__(self, fails: Any = None, error: Exception | None = None, speed: Any = None) -> None:
        self.order: list[str] = []
        self.renewals, self.phase, self.pool = 0, "ready", self
        self._speed = speed
        self._fails, self._error = fails, error or RunError("a stage was ended by SIGKILL")

    def run(self, plan: Plan, minibatches: int) -> RunResult:
        self.order.append(plan.method)
        if self._fails and self._fails(len(self.order), plan):
            self.phase = "ended"
            raise self._error
        speed = self._speed(len(self.order), plan) if self._speed else float(len(self.order))
        return result(scheduled(plan, some_schedule("1f1b", 2, minibatches, 1)), speed)

    def renew(self) -> None:
        self.renewals += 1
        self.phase = "ready"


def ran(start: Comparison, fake: Fake, most: int | None = None) -> tuple[Comparison, list[Comparison]]:
    """Run to the end, or until so many runs have been kept, as if somebody had pressed Ctrl-C."""
    execution: Any = fake
    saved = list(islice(compare(start, {Form(): execution}, {ONE_CORE: lambda: (10.0, 0.0)}, len(start.runs)), most))
    return saved[-1] if saved else start, saved


def test_every_contender_runs_once_a_round_in_an_order_of_the_rounds_own() -> None:
    start = empty(plans(*NAMES), repeats=4)
    every = list(steps(start))
    blocks = [every[at : at + 4] for at in range(0, 16, 4)]
    for number, block in enumerate(blocks, 1):
        assert {step.name for step in block} == {*NAMES, ONE_CORE}
        assert {step.round for step in block} == {number}
    assert len({tuple(step.name for step in block) for block in blocks}) > 1, "each round has an order of its own"
    assert every == list(steps(start)), "which is the same every time"


def by_round(kept: Comparison | None = None, fails: Any = None) -> Fake:
    """Speeds that follow from the split and the number of its runs, however often the command is taken up."""
    usual = {"exact": 10.0, "end-load": 5.0, "middle-load": 9.9}
    counts = Counter({"optimized": "exact"}.get(run.name, run.name) for run in kept.runs) if kept else Counter[str]()

    def speed(_number: int, plan: Plan) -> float:
        counts[plan.method] += 1
        return usual[plan.method] * (1 + 0.05 * sin(counts[plan.method] * usual[plan.method]))

    return Fake(fails, speed=speed)


def test_who_cannot_be_the_fastest_any_more_has_had_its_runs() -> None:
    start = empty(plans(*NAMES), repeats=5, full=False)
    found, saved = ran(start, by_round())
    assert found.complete
    assert found.dropped == {"end-load": 1}
    assert Counter(run.name for run in found.runs) == {"optimized": 5, "end-load": 1, "middle-load": 5, ONE_CORE: 5}
    assert found.rank("end-load") == 3, "of its single round"
    assert race(found).endswith("cannot be the fastest: after round 1, end-load. --full runs all of them.")
    for kept in [start, *saved]:
        rest, _ = ran(kept, by_round(kept))
        assert _without_times(rest) == _without_times(found), "whoever takes it up goes on in the same order"
    everything, _ = ran(empty(plans(*NAMES), repeats=5, full=True), by_round())
    assert not everything.dropped
    assert not race(everything)
    assert len(everything.runs) == 20


def test_it_ends_with_the_round_after_which_more_would_change_nothing_and_with_more_asked_for_stays_so() -> None:
    speeds = {"optimized": (20.0, 20.2), "end-load": (8.0, 8.1), "middle-load": (9.0, 9.1)}
    found = comparison(speeds, one_core=(12.0, 12.0), plain=(30.0, 30.0), full=False, repeats=2)
    asked_for_more = asked(found, repeats=6)
    assert asked_for_more.complete, "it is firm after two rounds"
    assert asked_for_more.rounds == 2
    assert list(steps(asked_for_more)) == []
    assert not asked(found, repeats=6, full=True).complete
    near = asked(comparison(speeds, one_core=(19.0, 20.9), full=False, repeats=2), repeats=6)
    assert not near.complete, "whether it pays to split is open"


def test_equal_splits_run_once() -> None:
    start = empty(plans("optimized", "end-load", "equal-load", "front-heavy"), repeats=2)
    assert {part.name: part.same_as for part in start.partitions}["front-heavy"] == "optimized"
    assert Counter(step.name for step in steps(start)) == {
        "optimized": 2, "end-load": 2, "equal-load": 2, ONE_CORE: 2,
    }  # fmt: skip


def test_every_run_is_saved_and_the_last_is_the_whole() -> None:
    fake = Fake()
    found, saved = ran(empty(plans(*NAMES), repeats=2), fake)
    assert [len(one.runs) for one in saved] == list(range(1, 9))
    assert saved[-1] == found
    assert found.complete
    first = next(run for run in found.runs if run.name == "optimized")
    assert list(first.timeline[0][0]) == ["F", 0, 0.0, pytest.approx(1.1)], "times count from the run's first start"
    assert [(kind, number) for kind, number, _, _ in first.timeline[0]] == [
        (kind, n) for n in range(16) for kind in "FBU"
    ]
    assert sum(bool(run.timeline) for run in found.runs) == 3, "one timeline a split"


def _without_times(found: Comparison) -> list[Any]:
    return [
        (run.round, run.name, run.failure, run.stages, [[span[:2] for span in row] for row in run.timeline])
        for run in found.runs
    ]


def test_a_run_that_fails_is_noted_and_the_others_go_on() -> None:
    fake = Fake(lambda number, _plan: number == 5)
    found, _ = ran(empty(plans(*NAMES), repeats=2), fake)
    assert found.complete
    assert fake.renewals == len(NAMES) + 1, (
        "each run of the first round has processes of its own, and one after a failure"
    )
    peaks = {run.round: {stage.peak_rss_bytes for stage in run.stages} for run in found.runs if run.stages}
    assert peaks == {1: {5}, 2: {None}}, "and memory is of these"
    (failed,) = [run for run in found.runs if run.failure]
    part = next(part for part in found.partitions if part.name == failed.name)
    assert part.failures == ("a stage was ended by SIGKILL",)
    assert len(part.by_round) == 1


def test_a_split_that_does_not_fit_into_memory_does_not_stop_the_others() -> None:
    fake = Fake(lambda _number, plan: plan.method == "end-load", TooLargeError("too large"))
    found, _ = ran(empty(plans(*NAMES), repeats=2), fake)
    assert found.complete
    failed = next(part for part in found.partitions if part.name == "end-load")
    assert found.speed(failed.name) is None
    assert found.rank(failed.name) is None
    assert not failed.stages


def test_data_that_cannot_be_used_end_the_comparison() -> None:
    with pytest.raises(InputError, match="the loader"):
        ran(empty(plans(*NAMES)), Fake(lambda *_: True, InputError("the loader raised")))


def test_nothing_goes_on_after_a_round_in_which_everything_failed_until_it_is_taken_up_again() -> None:
    fake = Fake(lambda _number, _plan: True)
    failed, _ = ran(empty(plans(*NAMES), repeats=9), fake)
    assert len(fake.order) == 3
    assert failed.rounds == 1
    assert all(not part.by_round for part in failed.partitions)
    found, _ = ran(failed, Fake())
    assert found.complete
    assert all(part.by_round for part in found.partitions)


def test_predictions_say_how_long_the_missing_runs_take() -> None:
    start = empty(plans(*NAMES), repeats=4)
    assert expected_s(start) > expected_s(ran(start, Fake(), 4)[0]) > 0
    assert expected_s(comparison(cores=(0, 0))) == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (40, "40 s"), (200, "3 min"), (4800, "80 min"), (9000, "2 h 30 min")]
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
