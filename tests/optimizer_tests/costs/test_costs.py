from dataclasses import replace

from strategies import COPY_COST, chain, layer, profile

from optimizer.costs import costs_of
from optimizer.costs.costs import copy_ns
from optimizer.costs.problem import Problem
from profiler.profile import INPUT, CopyCost


def test_a_stage_pays_its_layers_its_copies_and_at_the_end_the_loss() -> None:
    found = costs_of(chain([1, 2, 4]))
    copy = copy_ns(COPY_COST, 1000)
    assert copy == 2000
    assert found.stage_ns(0b000, 0b001) == 1_000_000 + copy
    assert found.stage_ns(0b001, 0b011) == 2_000_000 + 2 * copy, "activations down and gradients up"
    assert found.stage_ns(0b011, 0b111) == 4_000_000 + copy + 200_000
    assert found.stage_ns(0b000, 0b111) == 7_000_000 + 200_000, "one stage sends nothing"


def test_the_last_stage_updates_in_place_and_no_other() -> None:
    layers = [replace(layer(name, (1, 1, 2)), in_place_share=0.75) for name in ("a", "b")]
    found = costs_of(profile(layers, [(INPUT, "a"), ("a", "b")]))
    copy = copy_ns(COPY_COST, 1000)
    assert found.stage_ns(0b00, 0b01) == 4_000_000 + copy
    assert found.stage_ns(0b01, 0b11) == 3_500_000 + copy + 200_000
    assert found.stage_ns(0b00, 0b11) == 7_000_000 + 200_000, "a single stage holds a single version"


def test_a_value_that_is_read_far_downstream_crosses_every_cut_between() -> None:
    layers = [
        layer(name, sizes=size) for name, size in [("a", (10, 1)), ("b", (20, 2)), ("c", (40, 4)), ("d", (80, 8))]
    ]
    found = costs_of(profile(layers, [(INPUT, "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), (INPUT, "c")]))
    assert [value.name for value in found.crossing(0b0001)] == [INPUT, "a"]
    assert [value.name for value in found.crossing(0b0011)] == [INPUT, "a", "b"]
    assert [value.name for value in found.crossing(0b0111)] == ["a", "c"]
    problem = Problem(found, stages=2, minibatches=4)
    assert problem.crossing_bytes(0b0011) == (384 + 10 + 20, 1 + 2), "the input has no gradient; a is relayed"
    assert found.crossing(0b0000) == found.crossing(0b1111) == []


def test_copying_is_interpolated_between_and_beyond_the_measured_sizes() -> None:
    link = CopyCost(sizes_bytes=(1000, 3000), copy_s=(1e-6, 5e-6))
    assert copy_ns(link, 0) == 0
    assert copy_ns(link, 500) == 1000
    assert copy_ns(link, 2000) == 3000
    assert copy_ns(link, 6000) == 10_000
    assert copy_ns(CopyCost(sizes_bytes=(), copy_s=()), 6000) == 0
