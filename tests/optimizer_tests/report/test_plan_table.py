"""What a plan is said to give: never more than any split can, and nothing where the profile was too loud."""

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from strategies import FREE, chain, random_profiles

from optimizer.errors import PartitionError
from optimizer.plan import Plan
from optimizer.planning import Planner
from optimizer.report import show_gain, show_plan
from profiler.profile import CopyCost, Profile


def shown(planner: Planner, rivals: dict[str, Plan], cores: int | None = None) -> str:
    """All that is said of a plan beside its rivals."""
    screen = io.StringIO()
    console = Console(file=screen, width=400)
    plan = planner.optimized()
    show_plan(plan, console, planner.profile, rivals=rivals, cores=cores)
    show_gain(plan, rivals, planner, console)
    return screen.getvalue()


@settings(deadline=None, max_examples=100)
@given(found=random_profiles(), minibatches=st.integers(2, 30), stages=st.integers(2, 4), data=st.data())
def test_no_more_is_promised_than_any_split_can_give(
    found: Profile, minibatches: int, stages: int, data: st.DataObject
) -> None:
    shares = st.floats(0.5, 1.2)
    layers = tuple(replace(own, alone_s=own.step_s * data.draw(shares)) for own in found.layers)
    loss = replace(found.loss, alone_s=found.loss.step_s)
    try:
        planner = Planner(replace(found, layers=layers, loss=loss, neighbours=3), stages, minibatches)
    except PartitionError:
        return
    said = shown(planner, {})
    promises = [float(number) for number in re.findall(r"That is ([\d.]+) times", said)]
    ceilings = [float(number) for number in re.findall(r"is more than ([\d.]+) times", said)]
    assert all(promise <= ceiling for promise in promises for ceiling in ceilings)


def test_the_ceiling_is_of_layers_beside_no_busy_core() -> None:
    plain = chain([3, 5, 2, 4], copy_cost=FREE)
    alone_s = dict(zip(["l0", "l1", "l2", "l3"], [3e-3, 2.5e-3, 2e-3, 4e-3], strict=True))
    layers = tuple(replace(own, alone_s=alone_s[own.name]) for own in plain.layers)
    loss = replace(plain.loss, alone_s=plain.loss.step_s)
    found = replace(plain, layers=layers, loss=loss, neighbours=1)
    assert "the largest, l3, has 34%" in shown(Planner(found, 2, 8), {}), "l1 is slow beside a busy core only"
    assert f"no split is more than {11.7 / 4:.2f} times" in shown(Planner(found, 3, 8), {})


def test_a_promise_that_cannot_be_is_none() -> None:
    """By a profile that took longer beside no busy core than beside some, two stages are three times one core."""
    found = chain([10, 10])
    times = {1.0: False, 1.5: True}
    for factor, expected in times.items():
        layers = tuple(replace(own, alone_s=own.step_s * factor) for own in found.layers)
        loud = replace(found, layers=layers, loss=replace(found.loss, alone_s=found.loss.step_s * factor), neighbours=1)
        planner = Planner(loud, 2, 12)
        said = shown(planner, {})
        assert ("Nothing is promised" in said, "times one core" in said) == (expected, not expected)
        assert ("no verdict" in said, "the best split" in said) == (expected, not expected)


@given(factor=st.floats(0.3, 3.0))
def test_nothing_is_called_the_best_beside_a_rule_of_thumb_that_is_expected_to_be_faster(factor: float) -> None:
    planner = Planner(chain([10, 10]), 2, 12)
    plan = planner.optimized()
    rival = replace(plan, predicted=replace(
        plan.predicted, expected=None, throughput_samples_per_s=plan.predicted.promised_samples_per_s * factor,
    ))  # fmt: skip
    said = shown(planner, {"end-load": rival})
    times = float(re.findall(r"([\d.]+) times the best of 1 rule of thumb", said)[0])
    assert times == pytest.approx(1 / factor, abs=0.006)
    assert ("the best split" in said) != ("end-load is expected to be faster" in said)
    assert not ("the best split" in said and times < 0.985)


def test_of_a_profile_too_loud_to_tell_nothing_is_said_but_that() -> None:
    planner = Planner(replace(chain([10, 10]), uncertainty=0.4), 2, 12)
    said = shown(planner, {"end-load": planner.optimized()})
    assert "no verdict" in said
    assert "what a stage takes is known to ±40% only; profile again" in said
    assert "best" not in said
    assert "times" not in said


def test_what_is_slower_than_one_core_is_advised_against() -> None:
    """Two layers between which a copy takes longer than either of them."""
    slow = Planner(chain([10, 10], copy_cost=CopyCost(latency_s=0.015, s_per_byte=0)), 2, 12)
    said = shown(slow, {})
    assert float(re.findall(r"That is ([\d.]+) times one core", said)[0]) < 1
    assert "Do not split: one core is expected to be faster." in said
    assert "Do not split" not in shown(Planner(chain([10, 10], copy_cost=FREE), 2, 12), {})


def test_nothing_is_said_of_cores_where_there_are_enough() -> None:
    for cores in (None, 3, 4):
        assert "Worked out" not in shown(Planner(chain([10, 10, 10]), 3, 12), {}, cores)
