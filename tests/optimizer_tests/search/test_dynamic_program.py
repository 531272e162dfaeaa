"""The search against brute force over every assignment of layers to stages, written from the problem statement."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import torch
from brute_force import legal_assignments, objective, stage_map
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paces import drawn_pace
from strategies import chain, profile_of, random_profiles

from optimizer.costs import Problem, costs_of
from optimizer.errors import PartitionError
from optimizer.planning import Planner, load_schemes
from optimizer.search import candidates_of, solve
from profiler.capture.layer_graph import capture
from profiler.capture.models import build
from profiler.profile import CopyCost, Profile

WHOLE = CopyCost(sizes_bytes=(1000, 101_000), copy_s=(2e-6, 102e-6))


@settings(deadline=None, max_examples=120)
@given(profile=random_profiles(), stages=st.integers(1, 4), data=st.data())
def test_the_plan_is_the_best_of_all_legal_assignments_under_any_schedule(
    profile: Profile, stages: int, data: st.DataObject
) -> None:
    pace = drawn_pace(data, stages)
    every = [objective(profile, stage_of, stages, pace) for stage_of in legal_assignments(profile, stages)]
    if not every:
        with pytest.raises(PartitionError, match="cannot be cut"):
            Planner(profile, stages, 8, pace=pace).optimized()
        return
    plan = Planner(profile, stages, 8, pace=pace).optimized()
    assert plan.planned_for == plan.pace == pace
    assert objective(profile, stage_map(plan), stages, pace) == min(every)
    assert plan.optimal
    assert plan.bottleneck_s == min(every)[0] / 1e9 == plan.lower_bound_s


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(profile=random_profiles(), stages=st.integers(1, 4), limit=st.sampled_from([None, 8_000, 16_000]))
def test_prefixes_of_a_few_orders_give_a_legal_split_and_a_bound_that_holds(
    monkeypatch: pytest.MonkeyPatch, profile: Profile, stages: int, limit: int | None
) -> None:
    problem = Problem(costs_of(profile), stages, 8, memory_limit_bytes=limit)
    whole = solve(problem, candidates_of(problem))
    with monkeypatch.context() as patch:
        patch.setattr("optimizer.search.candidates.MOST_IDEALS", 0)
        few = candidates_of(problem)
    assert not few.complete
    found = solve(problem, few)
    if found is None:
        return
    assert whole is not None
    assert found.lower_bound_ns <= whole.lower_bound_ns <= problem.bottleneck_ns(found.bounds)
    assert all(before & ~after == 0 for before, after in pairwise(found.bounds))
    assert limit is None or max(problem.memory_bytes(found.bounds)) <= limit


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
@pytest.mark.parametrize("seed", [1, 2])
def test_real_chains_agree_with_brute_force(name: str, seed: int) -> None:
    """Every way to put three cuts into the captured order, which is a chain here: 1,330 and 9,139 of them."""
    profile = profile_of(capture(build(name, 10, 0), name, torch.zeros(1, 3, 64, 64)), seed)
    names = [layer.name for layer in profile.layers]
    best = None
    for cuts in combinations(range(1, len(names)), 3):
        stage_of = {layer: sum(index >= cut for cut in cuts) for index, layer in enumerate(names)}
        # The cuts' own rank is their position here; brute force keeps the first of equals.
        found = objective_of_chain(profile, stage_of)
        if best is None or found < best[0]:
            best = (found, cuts)
    assert best is not None
    plan = Planner(profile, 4, 8).optimized()
    assert tuple(len(stage.layers) for stage in plan.stages[:-1]) == (
        best[1][0],
        best[1][1] - best[1][0],
        best[1][2] - best[1][1],
    )
    assert plan.bottleneck_s == best[0][0] / 1e9


def objective_of_chain(profile: Profile, stage_of: dict[str, int]) -> tuple[int, int, int]:
    return objective(profile, stage_of, 4)[:3]


@settings(deadline=None, max_examples=60)
@given(profile=random_profiles(), stages=st.integers(1, 4))
def test_no_scheme_beats_the_plan(profile: Profile, stages: int) -> None:
    for name, shares in load_schemes().items():
        try:
            planner = Planner(profile, stages, 8)
            scheme = planner.scheme(name, shares)
        except PartitionError:
            continue
        plan = planner.optimized()
        assert plan.bottleneck_s <= scheme.bottleneck_s
        assert scheme.optimal == (scheme.bottleneck_s == plan.bottleneck_s)


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnet50"])
def test_no_scheme_beats_the_plan_on_real_graphs(name: str) -> None:
    profile = profile_of(capture(build(name, 10, 0), name, torch.zeros(2, 3, 64, 64)), seed=3)
    for stages in (1, 2, 3, 4, 7):
        planner = Planner(profile, stages, 8)
        plan = planner.optimized()
        assert all(plan.bottleneck_s <= planner.scheme(*item).bottleneck_s for item in load_schemes().items())


@settings(deadline=None, max_examples=40)
@given(profile=random_profiles(copy_cost=WHOLE), factor=st.integers(2, 5))
def test_scaling_all_times_leaves_the_split_alone(profile: Profile, factor: int) -> None:
    """Copies take whole nanoseconds, for rounded ones are not to scale, and of equal splits another may be the best."""
    link = profile.copy_cost
    scaled = Profile(
        **{
            **{name: getattr(profile, name) for name in profile.__slots__},
            "layers": tuple(scale_layer(layer, factor) for layer in profile.layers),
            "loss": type(profile.loss)(forward_s=1e-4 * factor, backward_s=1e-4 * factor),
            "copy_cost": type(link)(sizes_bytes=link.sizes_bytes, copy_s=tuple(time * factor for time in link.copy_s)),
        }
    )
    try:
        plan = Planner(profile, 3, 8).optimized()
    except PartitionError:
        return
    assert stage_map(Planner(scaled, 3, 8).optimized()) == stage_map(plan)


def scale_layer(layer: object, factor: int) -> object:
    values = {name: getattr(layer, name) for name in type(layer).__slots__}  # type: ignore[attr-defined]
    times = {name: values[name] * factor for name in ("forward_s", "backward_s", "update_s")}
    return type(layer)(**(values | times))


def test_more_stages_than_layers_are_refused_with_the_most_that_would_do() -> None:
    with pytest.raises(PartitionError, match="use --stages 3 or fewer"):
        Planner(chain([1, 2, 3]), 4, 8).optimized()


def test_a_graph_with_too_many_ideals_is_planned_along_a_few_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = chain([5, 1, 1, 5])
    exact = Planner(profile, 2, 8).optimized()
    monkeypatch.setattr("optimizer.search.candidates.MOST_IDEALS", 0)
    plan = Planner(profile, 2, 8).optimized()
    assert plan.method == "bounded"
    assert not plan.optimal
    assert plan.searched == "5 cuts, for all legal ones are too many, were compared"
    assert plan.bottleneck_s == exact.bottleneck_s
    assert plan.lower_bound_s == pytest.approx((12e-3 + 0.2e-3) / 2)


@settings(deadline=None, max_examples=60)
@given(profile=random_profiles(copy_cost=CopyCost(sizes_bytes=(), copy_s=())))
def test_more_stages_never_raise_the_bottleneck_where_links_are_free(profile: Profile) -> None:
    # A last stage that updates in place for less can lose its gain to one stage more: only the last stage has it.
    profile = replace(profile, layers=tuple(replace(one, in_place_share=1.0) for one in profile.layers))
    most = len(costs_of(profile).parts)
    bottlenecks = [Planner(profile, stages, 8).optimized().bottleneck_s for stages in range(1, most + 1)]
    assert bottlenecks == sorted(bottlenecks, reverse=True)
