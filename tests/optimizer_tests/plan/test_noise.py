"""What unsteady stages give, against algebra, a recursion written anew, and the simulator draw by draw."""

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import drawn_pace, some_schedule
from rounds import with_rounds
from strategies import FREE, chain, layer, random_profiles
from strategies import profile as made_up

from optimizer.costs import Rounds
from optimizer.plan import Plan, scheduled
from optimizer.planning import Planner
from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.files import from_json, to_json
from profiler.profile import INPUT, Loss, Profile

ROUNDS = 20


def noisy(count: int, spread: float, seed: int = 1) -> list[list[float]]:
    """For each layer factors evenly spread around 1, in an order of its own."""
    drawing = random.Random(seed)  # noqa: S311 - a test
    evenly = [1 + spread * (2 * at / (ROUNDS - 1) - 1) for at in range(ROUNDS)]
    return [drawing.sample(evenly, ROUNDS) for _ in range(count)]


def planned(found: Profile, stages: int, minibatches: int = 40) -> Plan:
    return Planner(found, stages, minibatches).optimized()


def even(count: int) -> Profile:
    """So many layers of 10 ms, and next to no loss."""
    return replace(chain([10.0] * count), loss=Loss(forward_s=1e-9, backward_s=1e-9))


def expected_period_s(noise: Sequence[Sequence[float]], work_s: Sequence[float], minibatches: int) -> float:
    """1F1B as a recursion: when each forward and backward ends; each turn begins with another of the rounds."""
    stages, rounds = len(noise), len(noise[0])
    periods = []
    for turn in range(rounds):
        factors = [
            [own[(turn + number + stage * rounds // stages) % rounds] for number in range(minibatches)]
            for stage, own in enumerate(noise)
        ]
        free = [0.0] * stages
        forward: dict[tuple[int, int], float] = {}
        backward: dict[tuple[int, int], float] = {}
        queues = [_order(stages - stage, minibatches) for stage in range(stages)]
        while any(queues):
            for stage, queue in enumerate(queues):
                while queue:
                    kind, number = queue[0]
                    ends, other = (forward, stage - 1) if kind == "F" else (backward, stage + 1)
                    if 0 <= other < stages and (other, number) not in ends:
                        break
                    start = max(free[stage], ends.get((other, number), 0.0))
                    free[stage] = start + (work_s[stage] * factors[stage][number] if kind == "F" else 0.0)
                    ends[stage, number] = free[stage]
                    queue.pop(0)
        last = stages - 1
        begun = (backward if stages > 1 else forward)[last, stages - 1]
        periods.append((backward[last, minibatches - 1] - begun) / (minibatches - stages))
    return 1 / mean(1 / period for period in periods)


def _order(depth: int, minibatches: int) -> list[tuple[str, int]]:
    order = [("F", number) for number in range(depth)]
    for number in range(minibatches):
        order += [("B", number)] + ([("F", number + depth)] if number + depth < minibatches else [])
    return order


@pytest.mark.parametrize("times_ms", [[10.0] * 2, [10.0] * 3, [10.0] * 4, [10.0, 30.0, 10.0]])
def test_what_is_expected_is_what_a_recursion_gives(times_ms: list[float]) -> None:
    """Of even stages whichever happens to be slow holds all up; beside one slow stage the others have time to spare."""
    stages = len(times_ms)
    found = replace(chain(times_ms), loss=Loss(forward_s=1e-9, backward_s=1e-9))
    plan = planned(with_rounds(found, noisy(stages, 0.4)), stages, 48)
    assert plan.predicted.expected
    period_s = expected_period_s([own.noise for own in plan.stages], [own.total_s for own in plan.stages], 48)
    assert plan.predicted.expected.samples_per_s == pytest.approx(plan.batch_size / period_s, rel=1e-3)
    assert plan.predicted.expected.low < plan.batch_size / period_s < plan.predicted.expected.high


def test_a_drift_that_all_layers_share_is_no_noise() -> None:
    drift = [1 + 0.5 * at / ROUNDS for at in range(ROUNDS)]
    model = with_rounds(even(4), [drift] * 4)
    rounds = Rounds(replace(model, loss=replace(model.loss, rounds_s=tuple(1e-9 * factor for factor in drift))))
    assert rounds.count == ROUNDS
    usual = drift[ROUNDS // 2]
    inside = [factor * usual / drift[ROUNDS // 2] for factor in rounds.factors(["l0", "l1"], last=False)[4:-4]]
    assert max(inside) / min(inside) == pytest.approx(1.0, abs=0.01)


def test_what_comes_and_goes_within_a_round_is_noise_of_the_stage_that_has_it() -> None:
    factors = [[1.0] * ROUNDS for _ in range(4)]
    factors[2][9] = 3.0
    rounds = Rounds(with_rounds(even(4), factors))
    first, second = rounds.factors(["l0", "l1"], last=False), rounds.factors(["l2", "l3"], last=False)
    assert set(first) == {1.0}
    assert second[9] == 2.0, "one of its two layers took three times as long"
    assert set(second[:9] + second[10:]) == {1.0}


@settings(deadline=None, max_examples=30)
@given(found=random_profiles(), data=st.data())
def test_a_plan_keeps_what_it_expects_in_its_file(found: Profile, data: st.DataObject) -> None:
    model = with_rounds(found, noisy(len(found.layers), 0.3))
    plan = Planner(model, 1, 12, pace=drawn_pace(data, 1)).optimized()
    assert all(len(stage.noise) == ROUNDS for stage in plan.stages)
    assert from_json(to_json(plan), Plan, "here") == plan


@pytest.mark.parametrize("name", SCHEDULES)
def test_another_schedule_expects_anew_from_the_same_noise(name: ScheduleName) -> None:
    plan = planned(with_rounds(even(6), noisy(6, 0.3)), 3)
    other = scheduled(plan, some_schedule(name, 3, 24, 6))
    assert other.predicted.expected
    assert other.predicted.expected.low < other.predicted.expected.samples_per_s < other.predicted.expected.high
    assert [stage.noise for stage in other.stages] == [stage.noise for stage in plan.stages]


def test_layers_of_no_time_are_steady() -> None:
    found = made_up([layer("l0", (0, 0, 0)), layer("l1", (5, 0, 0))], [(INPUT, "l0"), ("l0", "l1")])
    rounds = Rounds(with_rounds(found, noisy(2, 0.3)))
    assert set(rounds.factors(["l0"], last=False)) == {1.0}


def beside(times_ms: Sequence[float], slower: Sequence[float], neighbours: int) -> Profile:
    """A chain whose layers take so many times as long beside busy cores as beside none, and next to no loss."""
    found = chain(times_ms)
    layers = tuple(
        replace(layer, alone_s=layer.step_s / factor) for layer, factor in zip(found.layers, slower, strict=True)
    )
    loss = Loss(forward_s=1e-12, backward_s=0.0, alone_s=1e-12)
    return replace(found, layers=layers, loss=loss, neighbours=neighbours)


@pytest.mark.parametrize(
    ("times_ms", "neighbours", "busy"),
    [([10, 10], 1, [1, 1]), ([10, 2], 1, [0.2, 1]), ([10, 10], 3, [1 / 3, 1 / 3]), ([6, 6, 6], 1, [1, 1, 1])],
)
def test_neighbours_disturb_for_the_share_of_the_time_in_which_they_are_busy(
    times_ms: list[float], neighbours: int, busy: list[float]
) -> None:
    plan = planned(beside(times_ms, [1.25] * len(times_ms), neighbours), len(times_ms))
    assert [stage.alone for stage in plan.stages] == pytest.approx([0.8] * len(times_ms))
    assert [stage.ease for stage in plan.stages] == pytest.approx([0.8 + 0.2 * share for share in busy], rel=1e-2)


def test_the_interval_lies_between_neighbours_that_are_always_busy_and_none() -> None:
    found = with_rounds(beside([10, 10], [1.5, 1.5], 3), [[1.0] * ROUNDS] * 2)
    predicted = planned(found, 2).predicted
    assert predicted.expected
    steady = predicted.throughput_samples_per_s
    ease = 2 / 3 + 1 / 9
    bounds = (predicted.expected.low, predicted.expected.samples_per_s, predicted.expected.high)
    assert bounds == pytest.approx((steady * ease, steady, steady * ease * 1.5), rel=0.02)


def test_gradients_that_are_added_faster_than_written_anew_cost_no_less_than_nothing() -> None:
    found = chain([7, 19, 2], copy_cost=FREE)
    layers = [
        replace(own, backward_s=backward_s, accumulate_s=-0.9 * backward_s, update_s=update_s)
        for own, backward_s, update_s in zip(found.layers, (12e-3, 1e-3, 8e-3), (0, 6e-3, 1e-3), strict=True)
    ]
    planner = Planner(replace(found, layers=tuple(layers)), 3, 5, pace=pace_of("zero-bubble", 3, 4))
    assert planner.optimized().predicted.throughput_samples_per_s > 0
