"""The last choice is by what is expected: among splits that are nearly the best, and of fewer stages."""

import random
from dataclasses import replace

import pytest
from brute_force import legal_assignments, stage_map
from rounds import with_rounds
from strategies import chain

from optimizer.explain import fewer_stages
from optimizer.plan import EXACT, STEADIEST, Plan
from optimizer.planning import Planner
from profiler.files import from_json, to_json
from profiler.profile import CopyCost, Loss, Profile

ROUNDS, MINIBATCHES = 20, 40
FREE = CopyCost(sizes_bytes=(1000, 100_000), copy_s=(0.0, 0.0))
LOPSIDED = 100.0, 1.0, 50.0, 49.0
"""Behind the second layer the fewest bytes are sent, and two of three stages take as long; behind the third, one."""


def unsteady(times_ms: tuple[float, ...], spread: float, copy_cost: CopyCost = FREE) -> Profile:
    """A chain of layers, each of which takes up to ``spread`` longer or shorter, in an order of its own."""
    drawing = random.Random(1)  # noqa: S311 - a test
    evenly = [1 + spread * (2 * at / (ROUNDS - 1) - 1) for at in range(ROUNDS)]
    found = replace(chain(times_ms, copy_cost), loss=Loss(forward_s=1e-9, backward_s=1e-9))
    layers = tuple(replace(own, output_bytes=2000 if own.name == "l2" else 1000) for own in found.layers)
    found = replace(found, layers=layers)
    return with_rounds(found, [drawing.sample(evenly, ROUNDS) for _ in times_ms])


def promised(plan: Plan) -> float:
    return plan.predicted.promised_samples_per_s


def every_promise(profile: Profile, stages: int) -> dict[tuple[tuple[str, ...], ...], float]:
    """What each legal split promises, whatever its slowest stage is."""
    planner = Planner(profile.costs(), stages, MINIBATCHES)
    promises = {}
    for stage_of in legal_assignments(profile, stages):
        counts = [sum(stage <= cut for stage in stage_of.values()) for cut in range(stages - 1)]
        plan = planner.in_captured_order("tried", counts)
        assert stage_map(plan) == stage_of
        promises[plan.split] = promised(plan)
    return promises


def test_of_splits_that_are_nearly_the_best_the_one_that_promises_the_most_is_planned() -> None:
    profile = unsteady(LOPSIDED, 0.4)
    steady = Planner(unsteady(LOPSIDED, 0.0).costs(), 3, MINIBATCHES).optimized()
    planner = Planner(profile.costs(), 3, MINIBATCHES)
    plan = planner.optimized()
    assert (steady.method, plan.method) == (EXACT, STEADIEST)
    promises = every_promise(profile, 3)
    assert promises[plan.split] == max(promises.values()) == promised(plan)
    assert promised(plan) > 1.01 * promises[steady.split]
    assert plan.bottleneck_s <= 1.02 * steady.bottleneck_s
    assert plan.lower_bound_s == steady.bottleneck_s, "the search is exact, and says what it proves"
    assert plan.optimal == (plan.bottleneck_s == steady.bottleneck_s)
    assert from_json(to_json(plan), Plan, "the plan") == plan
    assert tuple(stage.layers for stage in plan.stages) == plan.split
    assert planner.unlimited("again", planner.bounds).split == plan.split


@pytest.mark.parametrize("spread", [0.0, 0.001])
def test_steady_stages_have_the_smallest_slowest_one(spread: float) -> None:
    profile = unsteady(LOPSIDED, spread)
    plan = Planner(profile.costs(), 3, MINIBATCHES).optimized()
    assert plan.method == EXACT
    assert plan.optimal


def test_on_a_machine_so_loud_that_nothing_can_be_told_the_best_split_is_planned() -> None:
    loud = replace(unsteady(LOPSIDED, 0.4), uncertainty=0.9)
    assert loud.loud
    assert Planner(loud.costs(), 3, MINIBATCHES).optimized().method == EXACT


@pytest.mark.parametrize(
    ("times_ms", "copy_s", "fewer"),
    [
        ((10.0, 10.0, 10.0, 10.0), 0.0, None),
        ((20.0, 20.0, 20.0, 20.0), 0.025, 2),  # 65 ms; inner stages of four have two copies and take 70
        ((20.0, 20.0, 20.0, 20.0), 0.045, 1),  # 80 ms; one of two takes 85
    ],
)
def test_fewer_stages_are_named_where_they_promise_more(
    times_ms: tuple[float, ...], copy_s: float, fewer: int | None
) -> None:
    profile = unsteady(times_ms, 0.1, CopyCost(sizes_bytes=(1000, 100_000), copy_s=(copy_s, copy_s)))
    planner = Planner(profile.costs(), 4, MINIBATCHES)
    counts = range(1, 5)
    promises = {count: promised(Planner(profile.costs(), count, MINIBATCHES).optimized()) for count in counts}
    best = max(promises, key=promises.__getitem__)
    answer = fewer_stages(planner)
    assert (answer.stages if answer else None) == fewer
    assert best == (fewer or 4)
    if answer:
        assert answer.gain == pytest.approx(promises[best] / promises[4] - 1)


def test_fewer_stages_keep_the_limits() -> None:
    copies = CopyCost(sizes_bytes=(1000, 100_000), copy_s=(0.045, 0.045))
    whole = unsteady((20.0, 20.0, 20.0, 20.0), 0.1, copies)
    answer = fewer_stages(Planner(whole.costs(), 4, MINIBATCHES, cut_after=[("l1",)]))
    assert answer
    assert answer.stages == 2, "a forced cut needs two stages"
    heavy = replace(whole, layers=tuple(replace(own, parameter_bytes=9000, learning_bytes=0) for own in whole.layers))
    needed = [
        max(stage.memory_bytes for stage in Planner(heavy.costs(), count, MINIBATCHES).optimized().stages)
        for count in (1, 2)
    ]
    assert needed[1] < needed[0]
    answer = fewer_stages(Planner(heavy.costs(), 4, MINIBATCHES, memory_limit_bytes=needed[0] - 1))
    assert answer
    assert answer.stages == 2, "one would need more memory"
