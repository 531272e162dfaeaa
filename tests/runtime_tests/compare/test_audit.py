"""The audit: the parts of an error add up to it, and the verdict says what they mean."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from comparisons import comparison, empty, measured, planner, plans, record, with_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import chain

from optimizer.planning import spaced_splits
from runtime.compare.audit import audit

NAMES = ("optimized", "end-load", "front-load")


def test_the_parts_add_up_to_the_error_of_the_period() -> None:
    named = plans(*NAMES, profile=chain([3, 1, 4, 1, 5, 2]))
    runs = []
    for at, (name, plan) in enumerate(named.items()):
        runs.append(record(name, 1, 50.0, measured(plan, 0.9 + 0.1 * at), series="alone"))
        runs += [record(name, number, 40.0 + at + number, measured(plan, 1.1 + 0.1 * at)) for number in (1, 2, 3)]
    found = with_runs(empty(named), runs).summary.audit
    assert len(found.splits) == 3
    for split, plan in zip(found.splits, named.values(), strict=True):
        assert split.contention_s is not None
        parts = split.drift_s + split.compute_s + split.contention_s + split.transfer_s + split.schedule_s
        assert parts == pytest.approx(split.measured_s - split.predicted_s, abs=1e-12)
        assert split.error == pytest.approx(split.measured_s / split.predicted_s - 1)
        work_s = max(stage.compute_s + stage.update_s for stage in plan.stages)
        assert split.contention_s == pytest.approx(0.2 * work_s)
        assert split.transfer_s == pytest.approx(0.0)
    assert found.mean_absolute_error == pytest.approx(sum(abs(one.error) for one in found.splits) / 3)


def test_a_prediction_that_came_true_is_off_by_nothing() -> None:
    named = plans(*NAMES, profile=chain([3, 1, 4, 1, 5, 2]))
    speeds = {name: (plan.predicted.throughput_samples_per_s,) * 3 for name, plan in named.items()}
    found = comparison(speeds, named=named).summary.audit
    assert found.mean_absolute_error == pytest.approx(0.0)
    assert found.spearman == pytest.approx(1.0)
    assert found.verdict == "Predictions: order right (1.00), off by 0% on average, 0% at most (optimized)."


def test_an_order_that_came_out_the_other_way_is_said() -> None:
    named = plans(*NAMES, profile=chain([3, 1, 4, 1, 5, 2]))
    speeds = {name: (1e5 / plan.predicted.throughput_samples_per_s,) * 2 for name, plan in named.items()}
    found = comparison(speeds, named=named).summary.audit
    assert found.spearman == pytest.approx(-1.0)
    assert found.verdict.startswith(
        "Predictions: order not right (-1.00), off by 55% on average, 73% at most (end-load)"
    )


def test_equal_splits_count_once_and_shared_cores_not_at_all() -> None:
    named = plans("optimized", "end-load", "front-load")
    found = comparison({"optimized": (3.0, 3.0), "end-load": (1.0, 1.0)}, named=named)
    assert [split.partition for split in found.summary.audit.splits] == ["optimized", "end-load"]
    assert found.summary.audit.spearman is None, "two splits have no order to speak of"
    shared = audit(found.summary.partitions, 2, {}, 1.0, comparable=False)
    assert (shared.mean_absolute_error, shared.spearman, shared.splits) == (None, None, ())
    assert "do not cover shared cores" in shared.verdict
    silent = [replace(part, throughput_samples_per_s=None) for part in found.summary.partitions]
    nothing = audit(silent, 2, {}, 1.0, comparable=True)
    assert "no split ran" in nothing.verdict


def test_drift_is_what_one_core_took_longer_and_is_taken_out_round_by_round() -> None:
    """The machine gets slower from round to round, and every split with it."""
    named = plans(*NAMES, profile=chain([3, 1, 4, 1, 5, 2]))
    slowness = (1.1, 1.3, 1.2)
    usual = comparison(named=named, speeds=dict.fromkeys(named, (1.0,))).one_core.profiled_s
    speeds = {
        name: [plan.predicted.throughput_samples_per_s / slower for slower in slowness] for name, plan in named.items()
    }
    found = comparison(speeds, named=named, one_core=[2 / usual / slower for slower in slowness], slower=1.2)
    assert found.summary.one_core.drift == pytest.approx(0.2)
    assert found.summary.audit.mean_absolute_error == pytest.approx(0.2)
    assert found.summary.audit.mean_absolute_error_without_drift == pytest.approx(0.0, abs=1e-9)
    for split in found.summary.audit.splits:
        assert split.drift_s == pytest.approx(0.2 * split.predicted_s)
        parts = split.drift_s + split.compute_s + split.transfer_s + split.schedule_s
        assert parts == pytest.approx(split.measured_s - split.predicted_s, abs=1e-12)
        assert split.compute_s == pytest.approx(0.0, abs=1e-9)
    assert found.summary.audit.verdict == (
        "Predictions: order right (1.00), off by 20% on average, 20% at most (optimized); had the machine been as fast "
        "as when it was profiled, 0%."
    )


@given(
    errors=st.lists(st.floats(0.2, 5.0), min_size=1, max_size=3),
    slowness=st.lists(st.floats(0.2, 5.0), min_size=1, max_size=3),
)
@settings(deadline=None, max_examples=30)
def test_the_verdict_leads_with_the_error_as_it_was_and_drift_may_only_make_it_smaller(
    errors: list[float], slowness: list[float]
) -> None:
    """What a yardstick says of the machine's speed is no error of a prediction."""
    named = plans(*NAMES[: len(errors)], profile=chain([3, 1, 4, 1, 5, 2]))
    usual = 2 / comparison(named=named, speeds=dict.fromkeys(named, (1.0,))).one_core.profiled_s
    speeds = {
        name: [plan.predicted.throughput_samples_per_s / error] * len(slowness)
        for (name, plan), error in zip(named.items(), errors, strict=True)
    }
    said = comparison(speeds, named=named, one_core=[usual / slower for slower in slowness]).summary.audit.verdict
    ran = [abs(error - 1) for error in errors]
    first, _, then = said.partition("; ")
    shown = [int(figure) for figure in re.findall(r"(\d+)%", first)]
    assert shown[0] == pytest.approx(100 * sum(ran) / len(ran), abs=0.51)
    assert shown[1:] == ([pytest.approx(100 * max(ran), abs=0.51)] if len(ran) > 1 else [])
    corrected = [int(figure) for figure in re.findall(r"(\d+)%", then)]
    assert len(corrected) == ("had the machine been as fast as when it was profiled" in then)
    assert all(figure < shown[0] for figure in corrected)


def test_a_yardstick_that_makes_an_error_larger_is_not_spoken_of() -> None:
    """The one core ran 2.6 times as fast as when it was profiled, and the splits nearly as they were predicted."""
    named = plans(*NAMES, profile=chain([3, 1, 4, 1, 5, 2]))
    usual = comparison(named=named, speeds=dict.fromkeys(named, (1.0,))).one_core.profiled_s
    speeds = {name: [plan.predicted.throughput_samples_per_s / 1.245] * 3 for name, plan in named.items()}
    found = comparison(speeds, named=named, one_core=[2 / usual * 2.6] * 3).summary.audit
    assert found.mean_absolute_error_without_drift == pytest.approx(1.245 * 2.6 - 1)
    assert re.fullmatch(r"Predictions: order .*, off by 2[45]% on average, 2[45]% at most \(.*\)\.", found.verdict)


@pytest.mark.parametrize(("stages", "layers"), [(2, 30), (4, 30), (2, 11), (3, 4)])
def test_evenly_spaced_splits_join_until_there_are_enough_distinct_ones(stages: int, layers: int) -> None:
    found = planner(chain([1 + number % 3 for number in range(layers)]), stages)
    taken = {tuple(stage.layers for stage in found.optimized().stages)}
    added = spaced_splits(found, 10, taken)
    splits = [tuple(stage.layers for stage in plan.stages) for plan in added.values()]
    assert len(set(splits)) == len(splits)
    assert not taken & set(splits)
    most = {2: layers - 1, 3: (layers - 1) * (layers - 2) // 2, 4: 10}[stages]
    assert len(splits) == min(9, most - 1)
    if stages == 2 and layers == 30:
        cuts = sorted(len(split[0]) for split in splits)
        gaps = [after - before for before, after in pairwise(cuts)]
        assert max(gaps) <= 5, "spread over the whole model"
    assert not spaced_splits(found, 0, taken)
