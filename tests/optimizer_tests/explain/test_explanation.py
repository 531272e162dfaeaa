"""Explanations of plans small enough to work out by hand, and what every explanation has to keep to."""

import io
import re
from dataclasses import replace

import pytest
from brute_force import stage_map
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from strategies import chain, random_profiles

from optimizer.errors import PartitionError
from optimizer.explain import Explanation, cannot_be, explain
from optimizer.planning import Models, Planner, load_schemes, plans_for
from optimizer.report import show_explanation, show_gain, show_plan
from profiler.profile import CopyCost, Profile

FREE = CopyCost(sizes_bytes=(), copy_s=())


def explained(found: Profile, stages: int, **limits: int) -> tuple[Planner, Explanation]:
    planner = Planner(found, stages, 8, **limits)  # type: ignore[arg-type]
    schemes = load_schemes()
    others = plans_for(schemes, Models(planner), schemes, lambda _sentence: None)
    return planner, explain(planner, planner.optimized(), others)


def test_the_bottleneck_the_ceiling_and_the_moves_of_a_chain() -> None:
    planner, found = explained(chain([3, 5, 2, 4], copy_cost=FREE), 2)
    assert planner.optimized().cuts == ("l1",)
    assert found.bottleneck_stage == 0
    assert [one.layer for one in found.fillers] == ["l1", "l0"]
    assert [one.share for one in found.fillers] == pytest.approx([5 / 8, 3 / 8])
    assert found.ceiling == pytest.approx(14.2 / 5)
    assert found.ceiling_layers == ("l1",)
    assert [(one.direction, one.layers) for one in found.moves] == [("earlier", ("l1",)), ("later", ("l2",))]
    assert [one.bottleneck_change_s for one in found.moves] == pytest.approx([3.2e-3, 2e-3])


def test_the_reason_of_a_loss_names_the_stage_and_its_layers() -> None:
    _, found = explained(chain([1, 1, 1, 9, 9], copy_cost=FREE), 2)
    losses = {one.method: one for one in found.losses}
    assert "stage 1" in losses["end-heavy"].reason
    assert "l3" in losses["end-heavy"].reason
    assert "l4" in losses["end-heavy"].reason


def test_a_scheme_over_the_limit_is_called_that() -> None:
    layers = [replace(one, saved_bytes=1 << 20) for one in chain([1, 1, 1, 1, 1, 1]).layers]
    found = replace(chain([1, 1, 1, 1, 1, 1]), layers=tuple(layers))
    _, explanation = explained(found, 2, memory_limit_bytes=5 << 20)
    over = {one.method for one in explanation.losses if "over the limit on memory" in one.reason}
    assert "front-heavy" in over
    assert "end-heavy" not in over


@settings(deadline=None, max_examples=60)
@given(found=random_profiles(), stages=st.integers(2, 4))
def test_moves_are_legal_and_never_pay(found: Profile, stages: int) -> None:
    try:
        planner, explanation = explained(found, stages)
    except PartitionError:
        return
    plan = planner.optimized()
    home = stage_map(plan)
    for move in explanation.moves:
        assert (move.bottleneck_change_s, move.sent_change_bytes) >= (0.0, 0) or move.bottleneck_change_s >= 0
        leaving = {home[name] for name in move.layers}
        assert leaving == {move.cut - 1 if move.direction == "earlier" else move.cut}
    assert explanation.ceiling >= 1
    assert all(loss.loss >= 0 for loss in explanation.losses)


@settings(deadline=None, max_examples=100)
@given(found=random_profiles(), minibatches=st.integers(2, 30), stages=st.integers(2, 4), data=st.data())
def test_no_screen_promises_more_than_any_split_can_give(
    found: Profile, minibatches: int, stages: int, data: st.DataObject
) -> None:
    shares = st.floats(0.5, 1.2)
    layers = tuple(replace(own, alone_s=own.step_s * data.draw(shares)) for own in found.layers)
    loss = replace(found.loss, alone_s=found.loss.step_s)
    try:
        planner = Planner(replace(found, layers=layers, loss=loss, neighbours=3), stages, minibatches)
        plan = planner.optimized()
    except PartitionError:
        return
    screen = io.StringIO()
    console = Console(file=screen, width=300)
    show_gain(plan, {}, [], planner, console)
    explanation = explain(planner, plan, {})
    show_explanation(plan, explanation, console)
    said = screen.getvalue()
    promises = [float(number) for number in re.findall(r"(?:That|The plan) is ([\d.]+) times", said)]
    ceilings = [float(number) for number in re.findall(r"is more than ([\d.]+) times", said)]
    assert len(set(promises)) == 1, "one promise, wherever it stands"
    assert len(set(ceilings)) == 1, "one ceiling, too"
    assert promises[0] <= ceilings[0]


def test_the_ceiling_is_of_layers_beside_no_busy_core() -> None:
    plain = chain([3, 5, 2, 4], copy_cost=FREE)
    alone_s = dict(zip(["l0", "l1", "l2", "l3"], [3e-3, 2.5e-3, 2e-3, 4e-3], strict=True))
    layers = tuple(replace(own, alone_s=alone_s[own.name]) for own in plain.layers)
    loss = replace(plain.loss, alone_s=plain.loss.step_s)
    _, found = explained(replace(plain, layers=layers, loss=loss, neighbours=1), 2)
    assert found.ceiling == pytest.approx((3 + 2.5 + 2 + 4 + 0.2) / 4), "l1 is slow beside a busy core only"
    assert found.ceiling_layers == ("l3",)


def test_a_promise_that_cannot_be_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """By a profile that took longer beside no busy core than beside some, two stages are three times one core."""
    found = chain([10, 10])
    times = {1.0: False, 1.5: True}
    for factor, expected in times.items():
        layers = tuple(replace(own, alone_s=own.step_s * factor) for own in found.layers)
        loud = replace(found, layers=layers, loss=replace(found.loss, alone_s=found.loss.step_s * factor), neighbours=1)
        planner = Planner(loud, 2, 12)
        plan = planner.optimized()
        assert cannot_be(plan, loud) == expected
        show_plan(plan, Console(width=400), loud)
        show_gain(plan, {}, {}, planner, Console(width=400))
        said = capsys.readouterr().out
        assert ("Nothing is promised" in said, "times one core" in said) == (expected, not expected)
