"""What a plan is said to give: never more than any split can, and nothing where the profile was too loud."""

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from strategies import chain, random_profiles

from optimizer.errors import PartitionError
from optimizer.planning import Planner
from optimizer.report import show_gain, show_plan
from profiler.profile import CopyCost, Profile

FREE = CopyCost(sizes_bytes=(), copy_s=())


def gain(planner: Planner) -> str:
    screen = io.StringIO()
    show_gain(planner.optimized(), {}, [], planner, Console(file=screen, width=300))
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
    said = gain(planner)
    promises = [float(number) for number in re.findall(r"That is ([\d.]+) times", said)]
    ceilings = [float(number) for number in re.findall(r"is more than ([\d.]+) times", said)]
    assert all(promise <= ceiling for promise in promises for ceiling in ceilings)


def test_the_ceiling_is_of_layers_beside_no_busy_core() -> None:
    plain = chain([3, 5, 2, 4], copy_cost=FREE)
    alone_s = dict(zip(["l0", "l1", "l2", "l3"], [3e-3, 2.5e-3, 2e-3, 4e-3], strict=True))
    layers = tuple(replace(own, alone_s=alone_s[own.name]) for own in plain.layers)
    loss = replace(plain.loss, alone_s=plain.loss.step_s)
    found = replace(plain, layers=layers, loss=loss, neighbours=1)
    assert "the largest, l3, has 34%" in gain(Planner(found, 2, 8)), "l1 is slow beside a busy core only"
    assert f"no split is more than {11.7 / 4:.2f} times" in gain(Planner(found, 3, 8))


def test_a_promise_that_cannot_be_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """By a profile that took longer beside no busy core than beside some, two stages are three times one core."""
    found = chain([10, 10])
    times = {1.0: False, 1.5: True}
    for factor, expected in times.items():
        layers = tuple(replace(own, alone_s=own.step_s * factor) for own in found.layers)
        loud = replace(found, layers=layers, loss=replace(found.loss, alone_s=found.loss.step_s * factor), neighbours=1)
        planner = Planner(loud, 2, 12)
        plan = planner.optimized()
        show_plan(plan, Console(width=400), loud)
        show_gain(plan, {}, {}, planner, Console(width=400))
        said = capsys.readouterr().out
        assert ("Nothing is promised" in said, "times one core" in said) == (expected, not expected)
