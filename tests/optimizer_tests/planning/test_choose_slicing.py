"""The choice of a slicing against every other one, and sliced graphs against brute force and HiGHS."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from brute_force import legal_assignments, objective, stage_map
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from milp import optimum
from strategies import chain, layer, random_profiles

from optimizer.planning import Planner, choose_slicing
from profiler.profile import CopyCost, Layer, Profile, SlicedLayer, part_names, sliced_profile, slicing_text

COPY_COST = CopyCost(sizes_bytes=(1000, 2000, 3000), copy_s=(50e-6, 90e-6, 140e-6))
FREE = CopyCost(sizes_bytes=(), copy_s=())


def with_blocks(profile: Profile, name: str, count: int, more: float = 1.0, concat_ms: float = 0.0) -> SlicedLayer:
    """A layer in blocks that take ``more`` times as long together as it does whole."""
    own = next(one for one in profile.layers if one.name == name)
    *blocks, concat = part_names(name, count)
    scale = more / count * 1e3
    times = (own.forward_s * scale, own.backward_s * scale, own.update_s * scale)
    parts = [replace(layer(block, times), part_of=name) for block in blocks]
    return SlicedLayer(
        layer=name, parts=(*parts, replace(layer(concat, (concat_ms, 0, 0)), part_of=name, kind="Concat"))
    )


def cuttable(profile: Profile, names: Sequence[str]) -> Profile:
    return replace(
        profile, layers=tuple(replace(one, features=64 if one.name in names else 0) for one in profile.layers)
    )


@settings(deadline=None, max_examples=80)
@given(found=random_profiles(most=5, copy_cost=COPY_COST), stages=st.integers(2, 4), data=st.data())
def test_sliced_graphs_agree_with_brute_force_and_the_mixed_integer_programme(
    found: Profile, stages: int, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([one.name for one in found.layers]))
    count = data.draw(st.integers(2, 3))
    found = cuttable(replace(found, blocks=(with_blocks(found, name, count),)), [name])
    sliced = sliced_profile(found, slicing_text({name: count}))
    sliced = replace(sliced, layers=tuple(_whole_microseconds(one) for one in sliced.layers))
    every = [objective(sliced, stage_of, stages) for stage_of in legal_assignments(sliced, stages)]
    assume(every)
    plan = Planner(sliced, stages, 8).optimized()
    assert objective(sliced, stage_map(plan), stages) == min(every)
    assert optimum(sliced, stages, 8) == (round(min(every)[0] / 1e3), min(every)[1])


def _whole_microseconds(one: Layer) -> Layer:
    return replace(
        one,
        forward_s=round(one.forward_s, 6), backward_s=round(one.backward_s, 6), update_s=round(one.update_s, 6),
        in_place_share=1.0,
    )  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(
    times_ms=st.lists(st.integers(1, 40), min_size=4, max_size=7),
    more=st.floats(1.0, 1.3),
    stages=st.integers(2, 4),
)
def test_the_choice_is_near_the_best_of_all_slicings_of_the_layers_that_were_measured(
    times_ms: list[int], more: float, stages: int
) -> None:
    profile = cuttable(chain(times_ms, copy_cost=FREE), [f"l{at}" for at in range(len(times_ms))])
    chosen = choose_slicing(profile, stages, lambda wanted: [with_blocks(profile, *pair, more) for pair in wanted])
    whole = Planner(profile, stages, 8).optimized().bottleneck_s
    names = list(dict.fromkeys(own.layer for own in chosen.profile.blocks))
    assume(len(names) <= 3)
    every = {}
    for counts in product((1, 2, 4, 8), repeat=len(names)):
        text = slicing_text({name: count for name, count in zip(names, counts, strict=True) if count > 1})
        every[text] = Planner(sliced_profile(chosen.profile, text), stages, 8).optimized().bottleneck_s
    best = min(every.values())
    assert chosen.text in every
    if whole / best < 1.02:
        assert chosen.text == ""
    elif chosen.text:
        assert every[chosen.text] <= best * 1.0401
        assert chosen.gain >= 0.02
    else:
        assert whole / best <= 1.02 * 1.04


def test_one_huge_layer_is_cut_as_coarsely_as_serves() -> None:
    profile = cuttable(chain([5, 5, 60, 10], copy_cost=FREE), ["l2"])
    chosen = choose_slicing(profile, 4, lambda wanted: [with_blocks(profile, *pair) for pair in wanted])
    assert chosen.text == "l2=8"
    assert round(chosen.gain, 2) == round(60 / 22.5 - 1, 2)
    profile = cuttable(chain([10, 10, 40, 20], copy_cost=FREE), ["l2"])
    assert choose_slicing(profile, 4, lambda wanted: [with_blocks(profile, *pair) for pair in wanted]).text == "l2=2"


def test_nothing_is_measured_where_the_plan_is_even_and_nothing_twice() -> None:
    def never(wanted: Sequence[tuple[str, int]]) -> list[SlicedLayer]:
        raise AssertionError(wanted)

    even = cuttable(chain([10, 10, 10, 10], copy_cost=FREE), ["l0", "l1", "l2", "l3"])
    assert choose_slicing(even, 4, never).text == ""
    profile = cuttable(chain([5, 5, 60, 10], copy_cost=FREE), ["l2"])
    chosen = choose_slicing(profile, 4, lambda wanted: [with_blocks(profile, *pair) for pair in wanted])
    assert choose_slicing(chosen.profile, 4, never) == chosen


def test_blocks_that_cost_more_than_they_gain_are_left_out() -> None:
    profile = cuttable(chain([5, 5, 60, 10], copy_cost=FREE), ["l2"])
    chosen = choose_slicing(
        profile, 4, lambda wanted: [with_blocks(profile, *pair, 3.0, concat_ms=20) for pair in wanted]
    )
    assert chosen.text == ""
    assert len(chosen.profile.blocks) == 3, "what was measured is kept"
    assert choose_slicing(cuttable(profile, []), 4, lambda _wanted: ()).text == ""
