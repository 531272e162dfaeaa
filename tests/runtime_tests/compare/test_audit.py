"""The audit: how far off predictions were, the machine's pace taken out, and the verdict in words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from comparisons import comparison, empty, measured, plans, record, with_runs
from strategies import FREE, chain

from optimizer.plan import Plan
from runtime.compare import Comparison
from runtime.compare.audit import audit

NAMES = ("optimized", "end-load", "front-load")


def promised(named: Mapping[str, Plan], slowness: Sequence[float], **late: float) -> Comparison:
    """Round by round every split as fast as promised on a machine so much slower; some ``late`` in all they do."""
    runs = [
        record(
            name,
            number,
            plan.predicted.throughput_samples_per_s / slower / late.get(name, 1.0),
            measured(plan, slower * late.get(name, 1.0)),
        )
        for number, slower in enumerate(slowness, 1)
        for name, plan in named.items()
    ]
    return with_runs(empty(named, repeats=len(slowness)), runs)


def test_the_errors_are_those_of_the_median_run() -> None:
    named = plans(*NAMES, profile=chain([3, 1, 4, 1, 5, 2]))
    runs = []
    for at, (name, plan) in enumerate(named.items()):
        runs += [record(name, number, 40.0 + at + number, measured(plan, 1.1 + 0.1 * at)) for number in (1, 2, 3)]
    found = with_runs(empty(named), runs).audit
    assert len(found.splits) == 3
    for split, speed in zip(found.splits, (42.0, 43.0, 44.0), strict=True):
        assert split.error == pytest.approx(2 / split.predicted_s / speed - 1)
        assert split.settled_error == pytest.approx(split.settled_s / split.predicted_s - 1)
    assert found.mean_absolute_error == pytest.approx(sum(abs(one.error) for one in found.splits) / 3)


def test_equal_splits_count_once_and_shared_cores_not_at_all() -> None:
    named = plans("optimized", "end-load", "front-load")
    found = comparison({"optimized": (3.0, 3.0), "end-load": (1.0, 1.0)}, named=named)
    assert [split.partition for split in found.audit.splits] == ["optimized", "end-load"]
    assert found.audit.spearman is None, "two splits have no order to speak of"
    shared = audit(found.partitions, 2, (), comparable=False)
    assert (shared.mean_absolute_error, shared.spearman, shared.splits) == (None, None, ())
    assert "do not cover shared cores" in shared.verdict
    silent = [replace(part, runs=()) for part in found.partitions]
    nothing = audit(silent, 2, (), comparable=True)
    assert "no split ran" in nothing.verdict


def test_the_pace_is_what_all_layers_took_longer_and_is_taken_out_run_by_run() -> None:
    """The machine gets slower from round to round, and every split with it."""
    named = plans(*NAMES, profile=chain([3, 1, 4, 1, 5, 2], copy_cost=FREE))
    found = promised(named, (1.1, 1.1, 1.3, 1.3, 1.3, 1.2, 1.2)).audit
    assert found.pace == pytest.approx(1.2)
    assert found.mean_absolute_error == pytest.approx(0.2)
    assert found.mean_absolute_error_settled == pytest.approx(0.0, abs=1e-9)
    assert found.verdict == (
        "The machine ran 1.20 times as long as when profiled; but for that, predictions were off by 0% on average, 0% "
        "at most (optimized), their order was right (1.00)."
    )


def test_what_one_split_alone_takes_longer_is_its_error_and_not_the_machines_pace() -> None:
    named = plans(*NAMES, profile=chain([3, 1, 4, 1, 5, 2], copy_cost=FREE))
    found = promised(named, (1.0, 1.0, 1.0), **{"end-load": 1.5}).audit
    errors = {split.partition: split.settled_error for split in found.splits}
    assert errors == {
        "optimized": pytest.approx(0.0),
        "end-load": pytest.approx(0.5),
        "front-load": pytest.approx(0.0),
    }


def test_a_leader_that_runs_on_alone_is_not_excused_by_its_own_runs() -> None:
    """Its rivals had their last runs in the second of ten rounds."""
    named = plans(*NAMES, profile=chain([3, 1, 4, 1, 5, 2], copy_cost=FREE))
    runs = [*promised(named, (1.0, 1.0), optimized=1.3).runs]
    leader = named["optimized"]
    speed = leader.predicted.throughput_samples_per_s / 1.3
    runs += [record("optimized", number, speed, measured(leader, 1.3)) for number in range(3, 11)]
    found = with_runs(empty(named, repeats=10, full=False), runs).audit
    (ours,) = [split for split in found.splits if split.partition == "optimized"]
    assert ours.settled_error == pytest.approx(0.3)


def test_a_split_that_ran_alone_has_no_pace_to_hide_its_error_behind() -> None:
    named = plans("optimized", profile=chain([3, 1, 4, 1, 5, 2]))
    found = promised(named, (1.0, 1.0, 1.0), optimized=1.25).audit
    assert found.pace is None
    assert found.splits[0].settled_error == pytest.approx(0.25)
    assert "machine" not in found.verdict
