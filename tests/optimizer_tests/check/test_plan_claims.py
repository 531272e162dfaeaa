"""The check of a plan: it has to agree with the search where both are right, and to see every kind of lie."""

import ast
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from brute_force import legal_assignments, memory, objective
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from paces import drawn_pace, some_pace
from strategies import chain, layer, profile, random_profiles

from optimizer.check import check, holds
from optimizer.errors import PartitionError
from optimizer.plan import Plan
from optimizer.planning import Planner
from optimizer.schedule import SCHEDULES, ScheduleName
from profiler.profile import INPUT, Profile


def texts(plan: Plan, found: Profile) -> list[str]:
    return [finding.text for finding in check(plan, found.costs()) if finding.holds is False]


@settings(deadline=None, max_examples=150)
@given(found=random_profiles(), stages=st.integers(1, 4), data=st.data())
def test_a_plan_of_the_search_holds_and_a_higher_bound_does_not(
    found: Profile, stages: int, data: st.DataObject
) -> None:
    every, pace = list(legal_assignments(found, stages)), drawn_pace(data, stages)
    assume(every)
    peaks = {max(memory(found, stage_of, stages, 8, pace)) for stage_of in every}
    limit = data.draw(st.sampled_from([None, *sorted(peaks)]))
    plan = Planner(found.costs(), stages, 8, pace=pace, memory_limit_bytes=limit).optimized()
    findings = check(plan, found.costs())
    assert [finding.text for finding in findings if finding.holds is not True] == []
    kept = [one for one in every if limit is None or max(memory(found, one, stages, 8, pace)) <= limit]
    smallest_ns = min(objective(found, one, stages, pace)[0] for one in kept)
    lying = replace(plan, lower_bound_s=(smallest_ns + 1) / 1e9, bottleneck_s=(smallest_ns + 1) / 1e9)
    assert any("some legal split stays below" in text for text in texts(lying, found))


@settings(deadline=None, max_examples=80)
@given(found=random_profiles(), stages=st.integers(2, 4), data=st.data())
def test_forced_cuts_are_part_of_what_is_checked(found: Profile, stages: int, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([layer.name for layer in found.layers]))
    try:
        plan = Planner(found.costs(), stages, 8, cut_after=[[name]]).optimized()
    except PartitionError:
        return
    assert holds(check(plan, found.costs()))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_plan_for_a_long_run_is_checked_by_its_first_minibatches(name: ScheduleName) -> None:
    found, pace = chain([3, 1, 4, 1, 5]), some_pace(name, 3, 7)
    plan = Planner(found.costs(), 3, 1_000_000, pace=pace).optimized()
    assert holds(check(plan, found.costs()))
    longer = replace(plan.predicted, makespan_s=plan.predicted.makespan_s * 1.001)
    assert any("makespan" in text for text in texts(replace(plan, predicted=longer), found))


def test_forced_cuts_that_are_not_there_are_seen() -> None:
    found = chain([1, 1, 1, 1])
    plan = Planner(found.costs(), 2, 8).optimized()
    assert any("no cut stands behind l0" in text for text in texts(replace(plan, cut_after=(("l0",),)), found))


FOUND = profile(
    [layer("a", (1, 2, 1)), layer("b"), layer("c", (3, 1, 0)), layer("d")],
    [(INPUT, "a"), ("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")],
)


def stage_changed(plan: Plan, number: int, **changes: Any) -> Plan:
    stages = list(plan.stages)
    stages[number] = replace(stages[number], **changes)
    return replace(plan, stages=tuple(stages))


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda plan: stage_changed(plan, 0, compute_s=1.0), "compute_s"),
        (lambda plan: stage_changed(plan, 0, update_s=1.0), "update_s"),
        (lambda plan: stage_changed(plan, 0, send_s=1.0), "send_s"),
        (lambda plan: stage_changed(plan, 1, receive_s=1.0), "receive_s"),
        (lambda plan: stage_changed(plan, 1, memory_bytes=1), "memory_bytes"),
        (lambda plan: stage_changed(plan, 0, send_bytes=1), "send_bytes"),
        (lambda plan: stage_changed(plan, 0, boundary=("d",)), "boundary"),
        (lambda plan: stage_changed(plan, 0, forward_s=1.0), "forward_s"),
        (lambda plan: stage_changed(plan, 0, backward_s=1.0), "backward_s"),
        (lambda plan: stage_changed(plan, 0, send_forward_s=1.0), "send_forward_s"),
        (lambda plan: stage_changed(plan, 1, send_backward_s=1.0), "send_backward_s"),
        (lambda plan: stage_changed(plan, 0, flops=1), "flops"),
        (lambda plan: replace(plan, model="other"), "model is test"),
        (lambda plan: replace(plan, batch_size=7), "batch_size is 2"),
        (lambda plan: replace(plan, predicted=replace(plan.predicted, makespan_s=1.0)), "makespan_s"),
        (lambda plan: replace(plan, predicted=replace(plan.predicted, bubble_share=1.0)), "bubble_share"),
        (lambda plan: replace(plan, predicted=replace(plan.predicted, throughput_samples_per_s=1.0)), "throughput"),
        (lambda plan: replace(plan, bottleneck_s=1.0), "bottleneck_s"),
        (lambda plan: replace(plan, lower_bound_s=1e-4), "above its lower bound"),
        (lambda plan: replace(plan, num_stages=3), "lists 2"),
        (lambda plan: replace(plan, memory_limit_bytes=10), "the limit is 10"),
        (lambda plan: replace(plan, stages=plan.stages[::-1]), "needs"),
        (lambda plan: stage_changed(plan, 0, layers=("a",)), "every layer once"),
        (lambda plan: stage_changed(plan, 0, layers=(*plan.stages[0].layers, "a")), "every layer once"),
    ],
)  # fmt: skip
def test_every_lie_is_seen(lie: Any, words: str) -> None:
    plan = Planner(FOUND.costs(), 2, 8).optimized()
    assert holds(check(plan, FOUND.costs()))
    assert any(words in text for text in texts(lie(plan), FOUND))


def test_layers_that_have_to_stay_together_are_seen_apart() -> None:
    plan = Planner(FOUND.costs(), 2, 8).optimized()
    last, first = plan.stages[0].layers[-1], plan.stages[1].layers[0]
    assert any("have to stay together" in text for text in texts(plan, replace(FOUND, inseparable=((last, first),))))


def test_what_was_not_checked_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Planner(FOUND.costs(), 2, 8).optimized()
    monkeypatch.setattr("optimizer.check.lower_bound.MOST_IDEALS", 2)
    findings = check(plan, FOUND.costs())
    assert [finding.holds for finding in findings] == [True, True, True, None]
    assert "was not checked" in findings[-1].text


def test_the_check_shares_nothing_with_the_search() -> None:
    checked = (
        "optimizer.check.plan_claims",
        "optimizer.check.lower_bound",
        "optimizer.check.schedule_again",
        "optimizer.check.pricing",
    )
    for name in checked:
        tree = ast.parse(Path(sys.modules[name].__file__ or "").read_text())
        ours = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        own = {module for module in ours if module.split(".")[0] in {"optimizer", "profiler"}}
        assert own <= {*checked, "optimizer.plan", "profiler.profile"}
