"""Other planners, against brute force over what each of them minimises."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from brute_force import legal_assignments, stage_map
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import chain, layer, profile, random_profiles

from optimizer.costs.costs import copy_ns
from optimizer.errors import PartitionError
from optimizer.planning import OTHER_PLANNERS, Planner
from optimizer.planning.other_planners import PLANNERS, block_partition, other_plan
from profiler.profile import INPUT, Profile


def test_every_peer_has_a_name_and_every_name_a_peer() -> None:
    assert tuple(PLANNERS) == OTHER_PLANNERS


@settings(deadline=None, max_examples=60)
@given(found=random_profiles(), stages=st.integers(1, 4), name=st.sampled_from(OTHER_PLANNERS))
def test_no_peer_beats_the_plan(found: Profile, stages: int, name: str) -> None:
    try:
        planner = Planner(found, stages, 8)
        plan = other_plan(name, planner)
    except PartitionError:
        return
    assert planner.optimized().bottleneck_s <= plan.bottleneck_s
    assert plan.method == name
    assert stage_map(plan) in list(legal_assignments(found, stages))


def compute(found: Profile, names: tuple[str, ...]) -> int:
    total = sum(round((layer.forward_s + layer.backward_s) * 1e9) for layer in found.layers if layer.name in names)
    return total + (200_000 if found.layers[-1].name in names else 0)


@settings(deadline=None, max_examples=60)
@given(found=random_profiles(), stages=st.integers(1, 4))
def test_pipedreams_code_finds_the_smallest_slowest_compute_over_all_legal_splits(found: Profile, stages: int) -> None:
    try:
        plan = other_plan("pipedream-code", Planner(found, stages, 8))
    except PartitionError:
        return
    slowest = []
    for stage_of in legal_assignments(found, stages):
        groups = [tuple(name for name, stage in stage_of.items() if stage == number) for number in range(stages)]
        slowest.append(max(compute(found, group) for group in groups))
    assert max(compute(found, stage.layers) for stage in plan.stages) == min(slowest)


@settings(deadline=None, max_examples=40)
@given(times=st.lists(st.integers(0, 9), min_size=4, max_size=9), sizes=st.data(), stages=st.integers(2, 4))
def test_pipedream_weighs_transfers_beside_the_stages(times: list[int], sizes: st.DataObject, stages: int) -> None:
    names = [f"l{number}" for number in range(len(times))]
    output = [sizes.draw(st.sampled_from([0, 50_000, 300_000_000])) for _ in times]
    layers = [layer(name, (time, 0, 5), (size, 0)) for name, time, size in zip(names, times, output, strict=True)]
    found = profile(layers, [(INPUT, names[0]), *pairwise(names)])
    plan = other_plan("pipedream", Planner(found, stages, 8))
    splits = []
    for cuts in combinations(range(1, len(names)), stages - 1):
        ends = [0, *cuts, len(names)]
        work = [compute(found, tuple(names[a:b])) for a, b in pairwise(ends)]
        splits.append((max([*work, *(copy_ns(found.copy_cost, output[cut - 1]) for cut in cuts)]), cuts))
    assert tuple(names.index(cut) + 1 for cut in plan.cuts) == min(splits)[1]


@pytest.mark.parametrize("name", ["parameters", "flops"])
@settings(deadline=None, max_examples=40)
@given(weights=st.lists(st.integers(1, 9), min_size=3, max_size=9), stages=st.integers(1, 3))
def test_balancing_minimises_the_largest_sum(name: str, weights: list[int], stages: int) -> None:
    found = chain([1] * len(weights))
    layers = [
        replace(one, parameter_bytes=weight, learning_bytes=0, flops=weight, backward_flops=0)
        for one, weight in zip(found.layers, weights, strict=True)
    ]
    plan = other_plan(name, Planner(replace(found, layers=tuple(layers)), stages, 8))
    at = {one.name: weight for one, weight in zip(layers, weights, strict=True)}
    best = min(
        max(sum(weights[a:b]) for a, b in zip([0, *cuts], [*cuts, len(weights)], strict=True))
        for cuts in combinations(range(1, len(weights)), stages - 1)
    )
    assert max(sum(at[layer] for layer in stage.layers) for stage in plan.stages) == best


@given(weights=st.lists(st.integers(0, 50), min_size=1, max_size=20), blocks=st.integers(1, 6))
def test_no_two_blocks_differ_by_more_than_the_heaviest_element(weights: list[int], blocks: int) -> None:
    """The theorem of Bárány and Grinberg, for weights above the lightest one's."""
    if len(weights) < blocks:
        return
    ends = [0, *block_partition(weights, blocks), len(weights)]
    assert ends == sorted(ends)
    lightest = min(weights)
    sizes = [sum(weight - lightest for weight in weights[a:b]) for a, b in pairwise(ends)]
    assert max(sizes) - min(sizes) <= max(weights) - lightest


def test_a_known_block_partition() -> None:
    assert block_partition([1, 2, 3, 4, 5, 6], 2) == [4]
    assert block_partition([0, 0], 2) == [1]
