"""The comparison, from made-up runs: what is medians, whose runs count where, and what is said."""

from dataclasses import replace

import pytest
from rich.console import Console
from strategies import MACHINE, chain

from optimizer.partitions import plan_for
from optimizer.planner import Planner
from optimizer.schemes import load_schemes
from optimizer.types import Plan
from profiler.config import Config
from profiler.files import from_json, to_json
from profiler.rule import UpdateRule
from runtime.compare import compare, summarise
from runtime.launcher import Launcher, comparable, cores_for
from runtime.table import show_comparison
from runtime.types import Comparison, RunResult, StageRun
from runtime.verdict import verdict

CONFIG = Config(model="test", batch_size=2, batches=8, repeats=3)


def plans(*names: str) -> dict[str, Plan]:
    planner = Planner(chain([1, 1, 1, 9]), 2, CONFIG.batches)
    return {name: plan_for(name, planner, load_schemes()) for name in names}


def result(plan: Plan, throughput: float, peak: int | None = 5, load: float = 0.01) -> RunResult:
    stage = StageRun(
        core=0,
        busy_s=1 / throughput,
        wait_s=0.1,
        send_s=0.2,
        foreign_load=load,
        page_faults=0,
        peak_rss_bytes=peak,
        actions=(),
    )
    return RunResult(
        plan=plan, batch_size=2, minibatches=8, rule=UpdateRule(lr=0.01), channel="shm", comparable=True,
        throughput_samples_per_s=throughput,
        makespan_s=16 / throughput, losses=(1.0,), stages=(stage, stage), machine=MACHINE,
    )  # fmt: skip


def comparison(cores: tuple[int, ...] = (0, 1)) -> Comparison:
    found = plans("optimized", "end-load", "front-load")
    runs = {
        "optimized": [result(found["optimized"], value) for value in (20.0, 40.0, 30.0)],
        "end-load": [result(found["end-load"], value, None) for value in (10.0, 15.0, 12.0)],
    }
    sources = {"optimized": "optimized", "end-load": "end-load", "front-load": "optimized"}
    return summarise(found, runs, sources, CONFIG, cores)


def test_medians_and_intervals_of_the_runs() -> None:
    found = {part.name: part for part in comparison().partitions}
    ours = found["optimized"].throughput_samples_per_s
    assert (ours.median, ours.runs) == (30.0, (20.0, 40.0, 30.0))
    assert 20.0 <= ours.low <= 30.0 <= ours.high <= 40.0
    assert found["optimized"].stages[0].busy_s == 1 / 30
    assert found["optimized"].stages[0].peak_rss_bytes == 5
    assert found["end-load"].stages[0].peak_rss_bytes is None
    assert found["end-load"].makespan_s.median == pytest.approx(16 / 12)


def test_an_equal_split_shows_the_runs_of_the_one_that_ran() -> None:
    found = {part.name: part for part in comparison().partitions}
    assert found["front-load"].same_as == "optimized"
    assert found["front-load"].throughput_samples_per_s == found["optimized"].throughput_samples_per_s


def test_prediction_stands_beside_measurement() -> None:
    for part in comparison().partitions:
        assert part.predicted_throughput_samples_per_s == part.plan.predicted.throughput_samples_per_s
        assert [stage.predicted_s for stage in part.stages] == [stage.total_s for stage in part.plan.stages]


def test_stages_that_share_cores_are_not_comparable() -> None:
    assert comparison().comparable
    shared = comparison(cores=(0, 0))
    assert not shared.comparable
    speed, warning = verdict(shared)
    assert "is predicted to run" in speed, "what was measured says nothing about speed"
    assert "2 stages shared 1 core" in warning
    assert cores_for(4, (3, 5)) == (3, 5, 3, 5)
    assert comparable(cores_for(2, (3, 5)))


def test_stages_that_were_kept_from_their_cores_are_said() -> None:
    found = plans("optimized", "end-load")
    runs = {name: [result(plan, 10.0, load=load)] for (name, plan), load in zip(found.items(), (0.3, 0.0), strict=True)}
    noisy = summarise(found, runs, {name: name for name in found}, CONFIG, (0, 1))
    assert any("NOISY" in line and "30%" in line for line in verdict(noisy))
    assert not any("NOISY" in line for line in verdict(comparison()))


def test_one_split_under_every_name_is_no_comparison() -> None:
    found = plans("optimized", "front-heavy")
    runs = {"optimized": [result(found["optimized"], 10.0)]}
    same = summarise(found, runs, dict.fromkeys(found, "optimized"), CONFIG, (0, 1))
    assert verdict(same) == ["test: all partitions are the same split."]


def test_a_comparison_survives_its_file() -> None:
    assert from_json(to_json(comparison()), Comparison, "comparison.json") == comparison()


def test_the_table_shows_the_fastest_first_and_the_verdict() -> None:
    console = Console(width=160, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    show_comparison(comparison(), console)
    text = console.export_text()
    console.file.close()
    assert text.index("optimized") < text.index("end-load")
    assert "front-load (= optimized)" in text
    assert (
        "optimized ran 1.00 times as fast as front-load, the fastest scheme, and 2.50 times as fast as end-load" in text
    )


def test_rounds_are_interleaved_and_each_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        cores = (0, 1)

    class Fake:
        pool = Pool()
        order: list[str] = []  # noqa: RUF012 - read by the test

        def run(self, plan: Plan, _minibatches: int) -> RunResult:
            self.order.append(plan.method)
            return result(plan, float(len(self.order)))

    fake = Fake()
    saved: list[Comparison] = []
    ran: list[str] = []
    monkeypatch.setattr("runtime.compare.machine", lambda: MACHINE)
    launcher: Launcher = fake  # type: ignore[assignment]
    found = plans("optimized", "end-load", "equal-load", "front-heavy")
    last = compare(found, launcher, replace(CONFIG, repeats=2), saved.append, ran.append)
    assert fake.order == ["exact", "end-load", "equal-load", "exact", "end-load", "equal-load"]
    assert ran == ["optimized", "end-load", "equal-load"] * 2
    assert [one.repeats for one in saved] == [1, 2]
    assert saved[-1] == last
    assert {part.name: part.same_as for part in last.partitions}["front-heavy"] == "optimized"
