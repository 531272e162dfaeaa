"""Splits with replicated stages: against all splits and all numbers of replicas, and against the simulated pipeline."""

import math
from collections.abc import Iterator
from fractions import Fraction

import pytest
from brute_force import legal_assignments
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SIZES, network_for, weighted, with_all_reduces
from strategies import chain, random_profiles

from optimizer.costs.costs import copy_ns
from optimizer.errors import OptimizerError, PartitionError
from optimizer.plan import NetworkProfile, Plan, timeline
from optimizer.planning import Planner
from optimizer.schedule import schedule_of
from profiler.profile import INPUT, Profile


@st.composite
def over_ranks(draw: st.DrawFn) -> tuple[Profile, NetworkProfile]:
    profile = draw(random_profiles(most=5).filter(lambda one: len(one.layers) >= 3))
    ranks = draw(st.integers(2, 3))
    factors = [Fraction(draw(st.sampled_from([1, 2, 3]))) for _ in range(ranks)]
    latencies, slopes = st.sampled_from([0, 1000]), st.sampled_from([0, 50, 3000])
    links = [(draw(latencies), draw(slopes), draw(slopes)) for _ in range(ranks - 1)]
    network = network_for(profile, factors, links)
    return profile, with_all_reduces(network, draw(st.sampled_from([0, 5000])), draw(st.sampled_from([0, 10, 9000])))


def compositions(whole: int) -> Iterator[tuple[int, ...]]:
    """All ways to write ``whole`` as a sum of positive numbers, their order counting."""
    if whole == 0:
        yield ()
    for first in range(1, whole + 1):
        yield from ((first, *rest) for rest in compositions(whole - first))


def slowest_busy_ns(ways: list[tuple[float, ...]], size: int) -> int:
    """How long a message occupies what is as slow as the slowest of some ways at each measured size."""
    if not size:
        return 0
    times = [round(max(each) * 1e9) for each in zip(*ways, strict=True)]
    at = int(size > SIZES[1])
    slope = Fraction(times[at + 1] - times[at], SIZES[at + 1] - SIZES[at])
    return int(times[at] + math.floor(slope * (size - SIZES[at])) - times[0])


def brute_bottleneck_ns(
    profile: Profile, network: NetworkProfile, stage_of: dict[str, int], replicas: tuple[int, ...]
) -> Fraction:
    """What the slowest stage or cut takes for a minibatch, straight from the words of the model."""
    stages, speeds = len(replicas), [rank.step.median_s / profile.whole_step.median_s for rank in network.ranks]
    ranks = [range(sum(replicas[:stage]), sum(replicas[: stage + 1])) for stage in range(stages)]
    factors = [max(Fraction(speeds[rank]).limit_denominator(10) for rank in own) for own in ranks]
    busy, learning = [0] * stages, [0] * stages
    for layer in profile.layers:
        stage = stage_of[layer.name]
        update_s = layer.update_in_place_s if stage == stages - 1 else layer.update_s
        for seconds in (layer.forward_s, layer.backward_s, update_s):
            busy[stage] += round(round(seconds * 1e9) * factors[stage])
        learning[stage] += layer.learning_bytes
    busy[-1] += sum(round(round(s * 1e9) * factors[-1]) for s in (profile.loss.forward_s, profile.loss.backward_s))
    sizes = {layer.name: (layer.output_bytes, layer.gradient_bytes) for layer in profile.layers}
    sizes[INPUT] = (profile.input_bytes, 0)
    crossing = [[0, 0] for _ in range(stages - 1)]
    for name, (output, gradient) in sizes.items():
        readers = [stage_of[e.target] for e in profile.edges if e.source == name and e.kind == "data"]
        readers += [stages - 1] if name in profile.outputs else []
        home = 0 if name == INPUT else stage_of[name]
        for cut in range(home, max(readers, default=home)):
            busy[cut] += round(copy_ns(profile.copy_cost, output) * factors[cut])
            busy[cut + 1] += round(copy_ns(profile.copy_cost, gradient) * factors[cut + 1])
            crossing[cut][0] += output
            crossing[cut][1] += gradient
    stage_times = []
    for stage, own in enumerate(replicas):
        reduce_ns = 0
        if own > 1 and learning[stage]:
            times = next(one.times_s for one in network.all_reduces if (one.first, one.ranks) == (ranks[stage][0], own))
            slope = (round(times[1] * 1e9) - round(times[0] * 1e9)) >> 10
            reduce_ns = round(times[0] * 1e9) + slope * learning[stage]
        stage_times.append(Fraction(busy[stage] + reduce_ns, own))
    for cut, both in enumerate(crossing):
        links = network.links[ranks[cut][0] : ranks[cut + 1][-1]]
        ways = ([link.down_s for link in links], [link.up_s for link in links])
        busiest = max(slowest_busy_ns(*both) for both in zip(ways, both, strict=True))
        stage_times.append(Fraction(busiest, min(replicas[cut], replicas[cut + 1])))
    return max(stage_times)


@settings(deadline=None, max_examples=80)
@given(given_=over_ranks())
def test_no_split_over_any_replicas_has_a_smaller_bottleneck(given_: tuple[Profile, NetworkProfile]) -> None:
    profile, network = given_
    plan = Planner(profile.costs(), len(network.ranks), 12, network=network).replicated()
    every = [
        brute_bottleneck_ns(profile, network, stage_of, replicas)
        for replicas in compositions(len(network.ranks))
        if max(replicas) > 1
        for stage_of in legal_assignments(profile, len(replicas))
    ]
    home = {layer: number for number, stage in enumerate(plan.stages) for layer in stage.layers}
    found = brute_bottleneck_ns(profile, network, home, plan.layout.replicas)
    assert found == min(every)
    assert plan.bottleneck_s == pytest.approx(float(found) / 1e9, abs=1e-12)
    assert plan.optimal
    assert plan.layout.size == len(network.ranks)
    stages_s = [stage.stage_time_s for stage in plan.stages]
    assert max(stages_s) <= plan.bottleneck_s + 1e-12


def test_a_model_of_fewer_parts_than_ranks_gives_the_rest_to_replicas() -> None:
    profile = weighted([12, 1], [100, 100])
    network = with_all_reduces(network_for(profile, [Fraction(1)] * 4, [(0, 0, 0)] * 3), 0, 0)
    planner = Planner(profile.costs(), 4, 100, network=network)
    assert planner.replicated().layout.size == 4
    with pytest.raises(PartitionError, match="cannot be cut into 4 stages"):
        planner.optimized()


def planned(times_ms: list[float], learning: list[int], slope_ns: int = 0) -> Plan:
    profile = weighted(times_ms, learning)
    network = with_all_reduces(network_for(profile, [Fraction(1)] * 4, [(0, 0, 0)] * 3), 0, slope_ns)
    return Planner(profile.costs(), 4, 100, network=network).replicated()


def test_a_layer_too_large_for_one_rank_gets_several_where_its_weights_are_small() -> None:
    plan = planned([12, 1, 1, 1], [100, 1 << 20, 1 << 20, 1 << 20], slope_ns=10)
    assert [stage.replicas for stage in plan.stages] == [3, 1]
    assert plan.stages[0].layers == ("l0",)
    assert plan.bottleneck_s == pytest.approx(0.004, rel=0.02)
    spans = timeline(plan.stages, schedule_of("1f1b", plan.layout.replicas, 400))
    ends = sorted(span.end_s for row in spans for span in row if span.action.kind == "B" and span.action.stage == 1)
    assert (ends[-1] - ends[199]) / 200 == pytest.approx(plan.bottleneck_s, rel=0.01), "as fast as its slowest stage"
    assert plan.predicted.throughput_samples_per_s == pytest.approx(plan.batch_size / plan.bottleneck_s, rel=0.05)


def test_where_averaging_costs_more_than_it_saves_as_little_as_can_be_is_averaged() -> None:
    plan = planned([4, 4, 4, 4], [1 << 20, 1 << 20, 1 << 10, 1 << 20], slope_ns=100)
    assert plan.layout.replicas == (1, 2, 1)
    assert plan.stages[1].layers == ("l2",)
    assert plan.bottleneck_s == pytest.approx(0.008, rel=1e-3)


def test_memory_counts_versions_in_flight_and_room_for_averaging() -> None:
    plan = planned([12, 1, 1, 1], [100, 1 << 20, 1 << 20, 1 << 20], slope_ns=10)
    first = plan.stages[0]
    # ⌈4 ÷ 3⌉ = 2 versions, the gradient, a momentum; two buffers; 2 minibatches in flight; slots for their activations,
    # and, in the rank behind, for the gradients of 2 minibatches of each of the 3 replicas
    assert first.memory_bytes == 100 * (2 + 1 + 1) + 2 * 100 + 200 * 2 + 1000 * 2 + 1000 * 2 * 3


def test_links_that_say_nothing_of_all_reduces_are_refused() -> None:
    profile = chain([1, 2, 3, 4])
    with pytest.raises(OptimizerError, match="--links"):
        Planner(profile.costs(), 2, 8).replicated()
