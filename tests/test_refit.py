"""Refitting costs: what the stages of executed splits were measured to take comes out again."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from comparisons import empty, measured, plans, record
from strategies import chain, layer, profile

from optimizer.planner import Planner
from optimizer.refit import Observation, multipliers, refitted
from profiler.types import INPUT, Profile
from runtime.again import with_refit
from runtime.comparison import REFIT
from runtime.summary import summarised


def observations(found: Profile, truth: Profile, *cuts: int) -> list[Observation]:
    """What stages of the splits at ``cuts`` would take if layers cost what ``truth`` says."""
    seen = []
    for cut in cuts:
        for last, layers in ((False, truth.layers[:cut]), (True, truth.layers[cut:])):
            work_s = sum(one.forward_s + one.backward_s for one in layers)
            work_s += sum(one.update_in_place_s if last else one.update_s for one in layers)
            work_s += truth.loss.forward_s + truth.loss.backward_s if last else 0.0
            names = tuple(one.name for one in layers)
            seen.append(Observation(layers=names, last=last, in_place=last, updates=1.0, work_s=work_s))
    assert [one.name for one in found.layers] == [one.name for one in truth.layers]
    return seen


def with_updates(*updates_ms: float) -> Profile:
    names = [f"l{number}" for number in range(len(updates_ms))]
    layers = [
        replace(layer(name, (1, 2, update)), in_place_share=0.5) for name, update in zip(names, updates_ms, strict=True)
    ]
    return profile(layers, [(INPUT, names[0]), *pairwise(names)])


def test_measurements_that_agree_change_nothing() -> None:
    found = with_updates(1, 4, 0, 2)
    assert multipliers(found, observations(found, found, 1, 2, 3)) == pytest.approx([1.0] * 5, abs=1e-9)
    assert multipliers(found, []) == pytest.approx([1.0] * 5)


def test_a_layer_that_costs_twice_as_much_is_found() -> None:
    found = chain([2.0, 2.0, 2.0, 2.0])
    slow = replace(found, layers=tuple(
        replace(one, forward_s=one.forward_s * (2 if one.name == "l2" else 1)) for one in found.layers
    ))  # fmt: skip
    factors = multipliers(found, observations(found, slow, 1, 2, 3))
    assert int(np.argmax(factors[:4])) == 2
    assert factors[2] == pytest.approx(2.0, abs=0.15)
    assert [factors[at] for at in (0, 1, 3)] == pytest.approx([1.0] * 3, abs=0.15)


def test_what_no_split_separates_moves_together() -> None:
    found = chain([1.0, 3.0, 4.0])
    slow = replace(found, layers=tuple(replace(one, forward_s=one.forward_s * 1.5) for one in found.layers))
    factors = multipliers(found, observations(found, slow, 2))
    assert factors[0] == pytest.approx(factors[1])
    again = refitted(found, observations(found, slow, 2))
    assert again.layers[0].forward_s == pytest.approx(found.layers[0].forward_s * factors[0])
    assert again.layers[0].backward_s == 0


def test_planning_again_finds_the_split_that_the_measured_times_ask_for() -> None:
    found = chain([2.0, 2.0, 2.0, 2.0])
    named = plans("optimized", "end-load", "front-load", profile=found)
    slow_half = {"l0": 4.0, "l1": 4.0}

    def runs_of(name: str) -> list:  # type: ignore[type-arg]
        plan = named[name]
        stages = [
            replace(one, forward_s=sum(2e-3 * slow_half.get(layer_name, 1.0) for layer_name in stage.layers))
            for one, stage in zip(measured(plan), plan.stages, strict=True)
        ]
        return [record(name, number, 10.0, stages) for number in (1, 2)]

    splits = [name for name, plan in named.items() if name == "optimized" or plan.cuts != named["optimized"].cuts]
    done = summarised(
        empty({name: named[name] for name in splits}, found, repeats=2),
        [run for name in splits for run in runs_of(name)],
    )
    again = with_refit(done, Planner(found, 2, 8))
    assert again.refit is not None
    assert not again.refit.same_split
    assert again.refit.cuts == ("l0",), "l0 and l1 take four times as long as the others"
    assert again.refit.predicted_gain > 0.2, "16 ms in the slowest stage before, 12 ms now"
    added = again.partitions[-1]
    assert added.name == REFIT
    assert added.plan.cuts == again.refit.cuts


def test_a_plan_that_measured_as_promised_stands() -> None:
    found = chain([2.0, 1.0, 2.0, 2.0])
    named = plans("optimized", "end-load", profile=found)
    runs = [record(name, 1, 10.0, measured(plan)) for name, plan in named.items()]
    again = with_refit(summarised(empty(named, found, repeats=1), runs), Planner(found, 2, 8))
    assert again.refit is not None
    assert again.refit.same_split
    assert again.refit.predicted_gain == pytest.approx(0.0)
    assert [part.name for part in again.partitions] == ["optimized", "end-load"]
