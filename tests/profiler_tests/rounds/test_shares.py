"""What a step's parts take, on simulated machines whose shares are known: with drift, bursts, jitter, preemption."""

import random
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from profiler.rounds import LOSS, Samples
from profiler.rounds.doubt import DRAWS, doubt_of, even_cut, largest_stage
from profiler.rounds.shares import closure_error, layer_times, shares_drawn, shares_of, step_costs

TRUE = [0.05, 0.2, 0.1, 0.3, 0.15, 0.2]
ROUNDS = 30
Machine = Callable[[random.Random, int, int], float]
"""By what factor a part takes longer, given its round and its place in the step."""


def drifts(_drawing: random.Random, at: int, _part: int) -> float:
    return 1 + at / ROUNDS


def jitters(drawing: random.Random, _at: int, _part: int) -> float:
    return 1 + 0.05 * drawing.random()


def is_shared_by_turns(_drawing: random.Random, at: int, _part: int) -> float:
    return 2.0 if at // 4 % 2 else 1.0


def bursts(drawing: random.Random, _at: int, _part: int) -> float:
    """One part in four takes up to three times as long, whichever it is."""
    return 1 + 2 * drawing.random() if drawing.random() < 0.25 else 1.0


MACHINES = {"drift": drifts, "jitter": jitters, "turns": is_shared_by_turns, "bursts": bursts}


def rounds_on(machines: Sequence[Machine], seed: int = 0, parts: Sequence[float] = TRUE) -> Samples:
    """Forwards that take ``parts`` seconds; backwards and updates take nothing, nor does the loss."""
    drawing, samples = random.Random(seed), Samples()  # noqa: S311 - a test
    for at in range(ROUNDS):
        times = []
        for part, share in enumerate(parts):
            times.append(share)
            for machine in machines:
                times[-1] *= machine(drawing, at, part)
        for part, time_s in enumerate(times):
            samples.forward.setdefault(part, []).append(time_s)
            samples.backward.setdefault(part, []).append(0.0)
            samples.update.setdefault(part, []).append(0.0)
        samples.forward.setdefault(LOSS, []).append(0.0)
        samples.backward.setdefault(LOSS, []).append(0.0)
        samples.whole_step.append(sum(times))
    return samples


def differ(shares: Sequence[float], other: Sequence[float] = TRUE) -> float:
    """Total variation: what share of the step is put on the wrong part."""
    return sum(abs(one - two) for one, two in zip(shares, other, strict=True)) / 2


def estimated(samples: Samples) -> list[float]:
    costs_s = step_costs(samples)
    whole_s = sum(costs_s.values())
    return [costs_s["forward", part] / whole_s for part in range(len(TRUE))]


@pytest.mark.parametrize("names", [names for count in (1, 2, 3, 4) for names in combinations(MACHINES, count)])
def test_shares_are_found_whatever_the_machine_does(names: tuple[str, ...]) -> None:
    machines = [MACHINES[name] for name in names]
    errors = [differ(estimated(rounds_on(machines, seed))) for seed in range(20)]
    assert max(errors) < 0.06
    assert sum(errors) / len(errors) < 0.01


def test_costs_add_up_to_the_usual_step() -> None:
    samples = rounds_on([drifts, bursts])
    assert sum(step_costs(samples).values()) == pytest.approx(float(np.median(samples.whole_step)))


def test_the_plain_steps_on_both_sides_take_a_steady_drift_out() -> None:
    """Plain and instrumented steps take turns on a machine that slows down by 2% from each to the next."""
    samples = rounds_on([])
    pace = [1.02**step for step in range(2 * ROUNDS)]
    samples.whole_step = pace[0::2]
    for part, share in enumerate(TRUE):
        samples.forward[part] = [1.05 * share * own for own in pace[1::2]]
    assert closure_error(samples) == pytest.approx(0.05, abs=0.001)


def test_layer_times_are_all_that_a_layer_does_and_the_loss_is_the_last_ones() -> None:
    samples = rounds_on([])
    samples.backward[1] = [1.0] * ROUNDS
    samples.forward[LOSS] = [2.0] * ROUNDS
    times_s = layer_times(samples)
    assert times_s[1, 0] == pytest.approx(TRUE[1] + 1.0)
    assert times_s[-1, 0] == pytest.approx(TRUE[-1] + 2.0)


@settings(deadline=None, max_examples=60)
@given(costs=st.lists(st.integers(0, 9) | st.floats(0, 1), min_size=1, max_size=8), stages=st.integers(1, 4))
def test_the_largest_stage_is_that_of_the_best_of_all_cuts(costs: list[float], stages: int) -> None:
    assume(sum(costs))
    floats = np.array(costs, dtype=float)
    assert largest_stage(floats, even_cut(floats, stages)) == pytest.approx(least_of_all_cuts(costs, stages), abs=1e-6)


def least_of_all_cuts(costs: Sequence[float], stages: int) -> float:
    """The largest stage of the best of all cuts in order, as there are so many stages or fewer."""
    ends = range(len(costs) + 1)
    return min(
        max(sum(costs[a:b]) for a, b in pairwise((0, *cuts, len(costs))))
        for cuts in combinations([end for end in ends for _ in range(stages)], stages - 1)
    )


def test_a_plan_is_not_in_doubt_where_rounds_differ_in_pace_alone_and_is_where_layers_do() -> None:
    steady = doubt_of(layer_times(rounds_on([drifts])), 3)
    assert max(steady.regret, steady.spread) < 1e-9
    assert doubt_of(layer_times(rounds_on([bursts])), 3).spread > 0.0


def test_nothing_is_regretted_of_the_only_cut_however_much_layers_vary() -> None:
    """Two layers in two stages; the first takes as much as the other, or up to seven times as much."""
    times_s = np.array([[1.0 + at % 7 for at in range(ROUNDS)], [1.0] * ROUNDS])
    doubt = doubt_of(times_s, 2)
    assert doubt.regret == 0.0
    assert doubt.spread > 0.01


def test_regret_is_what_the_best_of_all_cuts_of_each_draw_is_better_by() -> None:
    drawing = np.random.default_rng(3)
    times_s = 1 + drawing.random((5, 8))
    ends = even_cut(shares_of(times_s), 3)
    ratios = [largest_stage(one, ends) / least_of_all_cuts(one, 3) for one in shares_drawn(times_s, DRAWS)]
    assert sum(ratio > 1.01 for ratio in ratios) > DRAWS / 10, "draws do differ"
    assert doubt_of(times_s, 3).regret == pytest.approx(sorted(ratios)[94] - 1, abs=0.02)


def test_shares_of_what_takes_no_time_are_nothing() -> None:
    assert shares_of(np.zeros((3, 5))).tolist() == [0.0, 0.0, 0.0]
