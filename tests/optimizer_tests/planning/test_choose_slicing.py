"""The choice of a slicing against every other one, and sliced graphs against brute force and HiGHS."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from brute_force import legal_assignments, objective, stage_map
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from milp import optimum
from strategies import chain, layer, random_profiles

from optimizer.planning import Planner, SlicingChoice, choose_slicing, why_whole
from optimizer.planning.slicing_choice import Measure, even_places, even_share_s
from profiler.profile import (
    CopyCost,
    Form,
    Layer,
    Loss,
    ModelCosts,
    Pieces,
    Profile,
    SlicedLayer,
    Slicing,
    part_names,
)

COPY_COST = CopyCost(sizes_bytes=(1000, 2000, 3000), copy_s=(50e-6, 90e-6, 140e-6))
FREE = CopyCost(sizes_bytes=(), copy_s=())


def with_blocks(profile: Profile, name: str, lengths: Pieces, more: float = 1.0, concat_ms: float = 0.0) -> SlicedLayer:
    """A layer in blocks that take ``more`` times as long together as it does whole."""
    own = next(one for one in profile.layers if one.name == name)
    *blocks, concat = part_names(name, len(lengths))
    parts = []
    for block, length in zip(blocks, lengths, strict=True):
        scale = more * length / sum(lengths) * 1e3
        part = layer(block, (own.forward_s * scale, own.backward_s * scale, own.update_s * scale))
        parts.append(replace(part, part_of=name, features=length, uncuttable="a part"))
    return SlicedLayer(
        layer=name, parts=(*parts, replace(layer(concat, (concat_ms, 0, 0)), part_of=name, kind="Concat"))
    )


def measuring(profile: Profile, more: float = 1.0, concat_ms: float = 0.0) -> Measure:
    return lambda wanted: [with_blocks(profile, own.name, lengths, more, concat_ms) for own, lengths in wanted]


def never(wanted: Sequence[tuple[Layer, Pieces]]) -> list[SlicedLayer]:
    raise AssertionError(wanted)


def chosen_slicing(profile: Profile, stages: int, measure: Measure, limit: int | None = None) -> SlicingChoice:
    def bottleneck(tried: ModelCosts) -> float | None:
        return Planner(tried, stages, 8, memory_limit_bytes=limit).bottleneck_s

    return choose_slicing(profile, stages, bottleneck, measure)


def cuttable(profile: Profile, names: Sequence[str]) -> Profile:
    return replace(
        profile, layers=tuple(replace(one, features=4096 if one.name in names else 0) for one in profile.layers)
    )


@settings(deadline=None, max_examples=80)
@given(found=random_profiles(most=5, copy_cost=COPY_COST), stages=st.integers(2, 4), data=st.data())
def test_sliced_graphs_agree_with_brute_force_and_the_mixed_integer_programme(
    found: Profile, stages: int, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([one.name for one in found.layers]))
    lengths = tuple(data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=3)))
    found = replace(found, layers=tuple(replace(one, features=sum(lengths)) for one in found.layers))
    found = replace(found, blocks=(with_blocks(found, name, lengths),))
    costs = found.costs(Form(Slicing.of({name: lengths})))
    layers = tuple(_whole_microseconds(one) for one in costs.layers)
    sliced = replace(
        found, layers=layers, edges=costs.edges, inseparable=costs.inseparable, outputs=costs.outputs, blocks=()
    )
    every = [objective(sliced, stage_of, stages) for stage_of in legal_assignments(sliced, stages)]
    assume(every)
    plan = Planner(sliced.costs(), stages, 8).optimized()
    assert objective(sliced, stage_map(plan), stages) == min(every)
    assert optimum(sliced, stages, 8) == (round(min(every)[0] / 1e3), min(every)[1])


def _whole_microseconds(one: Layer) -> Layer:
    return replace(
        one,
        forward_s=round(one.forward_s, 6), backward_s=round(one.backward_s, 6), update_s=round(one.update_s, 6),
        in_place_share=1.0,
    )  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(times_ms=st.lists(st.integers(1, 40), min_size=4, max_size=9), stages=st.integers(2, 4))
def test_where_blocks_cost_what_they_divide_any_chain_is_split_evenly(times_ms: list[int], stages: int) -> None:
    profile = cuttable(chain(times_ms, copy_cost=FREE), [f"l{at}" for at in range(len(times_ms))])
    chosen = chosen_slicing(profile, stages, measuring(profile))
    whole = Planner(profile.costs(), stages, 8).optimized()
    even_s = even_share_s(profile.costs(), stages)
    assert even_s == pytest.approx((sum(times_ms) / 1e3 + 2e-4) / stages)
    plan = Planner(chosen.profile.costs(Form(chosen.slicing)), stages, 8).optimized()
    assert plan.bottleneck_s <= 1.03 * even_s
    assert whole.bottleneck_s / plan.bottleneck_s == pytest.approx(1 + (chosen.gain or 0), abs=1e-6)
    blocks = sum(len(pieces) for pieces in chosen.slicing.pieces.values())
    assert blocks <= 2 * (stages - 1), "a cut makes one layer two blocks"


@settings(deadline=None, max_examples=60)
@given(
    times_ms=st.lists(st.integers(1, 40), min_size=4, max_size=7),
    more=st.floats(1.0, 1.6),
    concat_ms=st.floats(0, 9),
    stages=st.integers(2, 4),
    whole=st.sets(st.integers(0, 6)),
)
def test_what_is_chosen_gains_what_it_says_or_nothing(
    times_ms: list[int], more: float, concat_ms: float, stages: int, whole: set[int]
) -> None:
    profile = cuttable(chain(times_ms, copy_cost=FREE), [f"l{at}" for at in range(len(times_ms)) if at not in whole])
    chosen = chosen_slicing(profile, stages, measuring(profile, more, concat_ms))
    before = Planner(profile.costs(), stages, 8).optimized().bottleneck_s
    if not chosen.slicing:
        assert (chosen.gain, bool(chosen.why_whole)) == (0, True)
        return
    assert chosen.gain is not None
    plan = Planner(chosen.profile.costs(Form(chosen.slicing)), stages, 8).optimized()
    assert before / plan.bottleneck_s == pytest.approx(1 + chosen.gain, abs=1e-6)
    assert chosen.gain >= 0.02
    cut = chosen.slicing.pieces
    assert not whole & {int(name[1:]) for name in cut}
    for name in cut:
        rest = Slicing.of({other: pieces for other, pieces in cut.items() if other != name})
        fewer = Planner(chosen.profile.costs(Form(rest)), stages, 8).optimized()
        assert fewer.bottleneck_s > plan.bottleneck_s * (1 - 1e-9), "a layer that need not be cut is left whole"
    assert chosen_slicing(chosen.profile, stages, never) == chosen, "nothing is measured twice"


def test_the_last_stage_updates_in_place_and_gets_more() -> None:
    profile = chain([10, 10, 10, 10], copy_cost=FREE)
    layers = [replace(one, update_s=0.01, in_place_share=0.5) for one in profile.layers]
    profile = replace(profile, layers=tuple(layers), loss=Loss(forward_s=0, backward_s=0))
    share_s, place = even_share_s(profile.costs(), 2), even_places(profile.costs(), 2)[0]
    assert share_s == pytest.approx(0.06 / 1.75), "70 − T − 5(1 − (T − 20) ÷ 20) = T"
    assert place[0].name == "l1"
    assert place[1] == pytest.approx(share_s / 0.02 - 1)


def test_nothing_is_measured_where_the_plan_is_even() -> None:
    even = cuttable(chain([10, 10, 10, 10], copy_cost=FREE), ["l0", "l1", "l2", "l3"])
    assert chosen_slicing(even, 4, never).slicing == ""


def test_blocks_that_cost_more_than_they_gain_are_left_out() -> None:
    profile = cuttable(chain([5, 5, 60, 10], copy_cost=FREE), ["l2"])
    chosen = chosen_slicing(profile, 4, measuring(profile, 6.0, concat_ms=20))
    assert chosen.slicing == ""
    assert why_whole(chosen) == "no layer is cut inside, for no slicing makes the slowest stage 2% faster"
    assert chosen.profile.blocks, "what was measured is kept"
    hopeless = chosen_slicing(cuttable(profile, []), 4, never)
    assert why_whole(hopeless) == "no layer is cut inside, for no layer that can be cut is in the way of an even split"
    unknown = chosen_slicing(profile, 4, lambda _wanted: ())
    assert why_whole(unknown) == "no layer is cut inside, for what l2 would cost in blocks is not known"


def test_a_layer_that_fits_nowhere_whole_is_cut_so_that_it_does() -> None:
    profile = cuttable(chain([5, 5, 60, 10], copy_cost=FREE), ["l2"])
    sizes = [replace(one, learning_bytes=100, parameter_bytes=100, saved_bytes=0) for one in profile.layers]
    sizes[2] = replace(sizes[2], learning_bytes=9000, parameter_bytes=9000)
    profile = replace(profile, layers=tuple(sizes), momenta=0)
    assert Planner(profile.costs(), 4, 8, memory_limit_bytes=16_000).bottleneck_s is None
    chosen = chosen_slicing(profile, 4, measuring(profile), limit=16_000)
    assert chosen.slicing
    assert chosen.gain is None
    assert Planner(chosen.profile.costs(Form(chosen.slicing)), 4, 8, memory_limit_bytes=16_000).bottleneck_s


def test_sixteen_stages_are_chosen_for_in_no_time() -> None:
    profile = cuttable(chain([40, 7] * 12, copy_cost=FREE), [f"l{at}" for at in range(24)])
    plans = 0

    def bottleneck(tried: ModelCosts) -> float | None:
        nonlocal plans
        plans += 1
        return Planner(tried, 16, 8).bottleneck_s

    assert choose_slicing(profile, 16, bottleneck, measuring(profile)).slicing
    assert plans <= 4 + 15 * 15 // 2, "layers are left whole one by one, not in every combination"
