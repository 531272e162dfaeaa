"""What stages take beside each other, against what the model says where it is simple."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

import pytest
from rounds import with_rounds
from strategies import chain

from optimizer.costs import Crowding
from optimizer.planning import Planner
from profiler.profile import Loss, Profile


def beside(times_ms: Sequence[float], slower: Sequence[float], neighbours: int = 1) -> Profile:
    """A chain whose layers take so many times as long beside busy cores as beside none, and next to no loss."""
    found = chain(times_ms)
    layers = tuple(
        replace(layer, alone_s=layer.step_s / factor) for layer, factor in zip(found.layers, slower, strict=True)
    )
    loss = Loss(forward_s=1e-12, backward_s=0.0, alone_s=1e-12)
    return replace(found, layers=layers, loss=loss, neighbours=neighbours, beside_s=(1.0,) * neighbours)


def eases(found: Profile, stages: Sequence[Sequence[str]]) -> tuple[float, ...]:
    costs_s = {layer.name: layer.step_s for layer in found.layers}
    both = Crowding(found).eases(stages, [sum(costs_s[name] for name in names) for names in stages])
    return tuple(ease for ease, _ in both)


def test_even_stages_of_like_layers_meet_what_the_profile_met() -> None:
    found = beside([1, 1, 1, 1], [1.2] * 4, neighbours=3)
    assert eases(found, [["l0"], ["l1"], ["l2"], ["l3"]]) == pytest.approx((1.0,) * 4)


def test_a_stage_whose_neighbour_is_busy_for_a_tenth_is_slowed_down_for_a_tenth() -> None:
    first, second = eases(beside([10, 1], [1.2, 1.2]), [["l0"], ["l1"]])
    busy = 1 / (10 * first)
    assert first == pytest.approx((1 + 0.2 * busy) / 1.2)
    assert second == pytest.approx(1.0), "its neighbour is always busy"


def test_layers_that_are_slowed_down_most_slow_others_down_most() -> None:
    """One stage computes in its cache, the other moves memory."""
    computing, moving = eases(beside([1, 1], [1.0, 1.25]), [["l0"], ["l1"]])
    assert computing == 1.0, "nothing slows it down"
    assert moving == pytest.approx(1 / 1.25), "it has nothing beside it that uses the memory"


def test_fewer_stages_than_the_profile_had_cores_leave_some_of_them_idle() -> None:
    """Beside three busy cores layers took 1.3 times as long; one of two even stages has a single neighbour."""
    assert eases(beside([5, 5], [1.3, 1.3], neighbours=3), [["l0"], ["l1"]]) == pytest.approx(((1 + 0.1) / 1.3,) * 2)
    assert eases(beside([10, 1], [1.2, 1.2]), [["l0", "l1"]]) == pytest.approx((1 / 1.2,)), "one stage is alone"


def test_noise_of_both_signs_does_not_make_neighbours_of_stages_that_have_none() -> None:
    """Some layers seem slower beside busy cores, and some faster, by chance: all together nothing happened."""
    found = beside([1, 1, 1, 1], [1.03, 1.03, 0.97, 0.9701], neighbours=3)
    assert all(0.95 < ease < 1.03 for ease in eases(found, [["l0"], ["l1"], ["l2"], ["l3"]]))


def test_what_takes_turns_has_always_something_beside_it() -> None:
    found = beside([4, 1, 1, 2], [1.3, 1.1, 1.2, 1.1])
    stages = [["l0"], ["l1"], ["l2"], ["l3"]]
    found_eases = eases(found, stages)
    took = [layer.step_s * ease for layer, ease in zip(found.layers, found_eases, strict=True)]
    excess = [0.3, 0.1, 0.2, 0.1]
    usual = sum(own * time for own, time in zip(excess, took, strict=True)) / sum(took)
    mix = (took[1] * 0.1 + took[2] * 0.2 + took[3] * 0.1) / sum(took[1:])
    assert found_eases[0] == pytest.approx((1 + 0.3 * mix / usual) / 1.3)


@pytest.mark.parametrize("change", [{"neighbours": 0, "beside_s": ()}, {"loss": Loss(forward_s=0.0, backward_s=1e-6)}])
def test_a_profile_that_does_not_tell_eases_nothing(change: dict[str, object]) -> None:
    found = replace(beside([10, 1], [1.2, 1.2]), **change)  # type: ignore[arg-type]
    assert eases(found, [["l0"], ["l1"]]) == (1.0, 1.0)


def test_a_lighter_neighbour_makes_a_promise_larger() -> None:
    crowded = beside([10, 1], [1.5, 1.5])
    eased, full = (
        Planner(found, 2, 12).optimized().predicted.throughput_samples_per_s
        for found in (crowded, replace(crowded, neighbours=0, beside_s=()))
    )
    assert eased > 1.2 * full
    assert mean(eases(crowded, [["l0"], ["l1"]])) < 1.0


def test_the_doubt_is_half_of_what_neighbours_cost_and_widens_the_interval() -> None:
    found = with_rounds(beside([10, 10], [1.5, 1.5]), [[1.0] * 20] * 2)
    plan = Planner(found, 2, 24).optimized()
    assert [stage.doubt for stage in plan.stages] == pytest.approx([0.5 / 1.5 / 2] * 2)
    assert plan.predicted.expected
    slowest = 1 + 0.95 * plan.stages[0].doubt
    assert plan.predicted.expected.low == pytest.approx(plan.predicted.throughput_samples_per_s / slowest, rel=0.03)
    assert plan.predicted.expected.high > plan.predicted.expected.samples_per_s
