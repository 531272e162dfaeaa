"""Plans over slow links and unequal cores, against brute force."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from brute_force import crossings, legal_assignments, stage_map
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import network_for
from strategies import chain, random_profiles

from optimizer.costs.costs import copy_ns
from optimizer.errors import OptimizerError, PartitionError
from optimizer.plan import NetworkProfile
from optimizer.planning import Planner
from profiler.profile import Profile, Slicing


@st.composite
def over_links(draw: st.DrawFn, most_stages: int = 3) -> tuple[Profile, NetworkProfile]:
    profile = draw(random_profiles())
    stages = draw(st.integers(2, most_stages))
    factors = [Fraction(draw(st.sampled_from([1, 2, 3]))) / draw(st.sampled_from([1, 2])) for _ in range(stages)]
    latencies, slopes = st.sampled_from([0, 1000, 400_000]), st.sampled_from([0, 1, 50, 3000])
    links = [(draw(latencies), draw(slopes), draw(slopes)) for _ in range(stages - 1)]
    return profile, network_for(profile, factors, links)


def brute_bottleneck_ns(profile: Profile, network: NetworkProfile, stage_of: dict[str, int]) -> int:
    """What the slowest stage takes with the messages that it sends, straight from the words of the model."""
    stages = len(network.ranks)
    factors = [Fraction(rank.step_s) / Fraction(profile.whole_step_s) for rank in network.ranks]
    factors = [factor.limit_denominator(10) for factor in factors]

    def ns(seconds: float, stage: int) -> int:
        return round(round(seconds * 1e9) * factors[stage])

    works, updates = [0] * stages, [0] * stages
    for layer in profile.layers:
        stage = stage_of[layer.name]
        updates[stage] += ns(layer.update_s, stage)
        if stage == stages - 1:
            saving = round(layer.update_s * 1e9) - round(layer.update_in_place_s * 1e9)
            updates[stage] -= round(saving * factors[stage])
        works[stage] += ns(layer.forward_s, stage) + ns(layer.backward_s, stage)
    works[-1] += ns(profile.loss.forward_s, stages - 1) + ns(profile.loss.backward_s, stages - 1)
    down, up = [0] * (stages - 1), [0] * (stages - 1)
    for cut, output, gradient in crossings(profile, stage_of, stages):
        works[cut] += round(copy_ns(profile.copy_cost, output) * factors[cut])
        works[cut + 1] += round(copy_ns(profile.copy_cost, gradient) * factors[cut + 1])
        down[cut] += output
        up[cut] += gradient
    found = [work + update for work, update in zip(works, updates, strict=True)]
    for cut, link in enumerate(network.links):
        latency = round(link.down_s[0] * 1e9)
        slope, back = (round((times[1] - times[0]) * 1e9) >> 10 for times in (link.down_s, link.up_s))
        found[cut] += (latency + slope * down[cut]) * (down[cut] > 0)
        found[cut + 1] += (latency + back * up[cut]) * (up[cut] > 0)
    return max(found)


@settings(deadline=None, max_examples=120)
@given(given_=over_links())
def test_the_plan_over_links_is_the_best_of_all_legal_assignments(given_: tuple[Profile, NetworkProfile]) -> None:
    profile, network = given_
    every = [brute_bottleneck_ns(profile, network, one) for one in legal_assignments(profile, len(network.ranks))]
    if not every:
        with pytest.raises(PartitionError):
            Planner(profile, len(network.ranks), 8, network=network).optimized()
        return
    plan = Planner(profile, len(network.ranks), 8, network=network).optimized()
    assert plan.optimal
    assert round(plan.bottleneck_s * 1e9) == min(every)
    assert brute_bottleneck_ns(profile, network, stage_map(plan)) == min(every)


FOUND = chain([4, 4, 4, 4, 4, 4])


def test_a_slow_wire_moves_the_cut_to_a_narrow_place() -> None:
    layers = list(FOUND.layers)
    layers[1] = replace(layers[1], output_bytes=100, gradient_bytes=100)
    for at in (0, 2, 3, 4):
        layers[at] = replace(layers[at], output_bytes=1_000_000, gradient_bytes=1_000_000)
    found = replace(FOUND, layers=tuple(layers))
    assert Planner(found, 2, 8).optimized().cuts == ("l2",)
    planner = Planner(found, 2, 8, network=network_for(found, [Fraction(1)] * 2, [(0, 80, 80)]))
    assert planner.optimized().cuts == ("l1",)


@pytest.mark.parametrize(("factor", "times"), [(Fraction(21, 20), 1), (Fraction(11, 10), Fraction(11, 10))])
def test_a_core_that_is_within_five_percent_of_the_profile_s_counts_as_equal(factor: Fraction, times: Fraction) -> None:
    network = network_for(FOUND, [factor, Fraction(1)], [(0, 0, 0)])
    planned = Planner(FOUND, 2, 8, network=network)
    assert planned.problem.network is not None
    assert planned.problem.network.factors == (Fraction(times), Fraction(1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "other"}, "measured for model other"),
        ({"batch_size": 9}, "measured for batch size 9"),
        ({"model_digest": "x"}, "model digest"),
        ({"precision": "bf16"}, "precision bf16 and the profile is of fp32"),
        ({"slicing": Slicing("l1=2")}, "slicing l1=2 and the profile is of none"),
    ],
)
def test_links_of_something_else_are_refused(change: dict[str, Any], words: str) -> None:
    network = replace(network_for(FOUND, [Fraction(1)] * 2, [(0, 1, 1)]), **change)
    with pytest.raises(OptimizerError, match=words):
        Planner(FOUND, 2, 8, network=network)


def test_links_of_another_number_of_ranks_are_refused() -> None:
    network = network_for(FOUND, [Fraction(1)] * 2, [(0, 1, 1)])
    with pytest.raises(OptimizerError, match="of 2 ranks and 3 stages are wanted; use --stages 2"):
        Planner(FOUND, 3, 8, network=network)
