from dataclasses import replace
from itertools import pairwise

import pytest
from strategies import layer, profile

from optimizer.errors import OptimizerError
from optimizer.planning import Planner, load_schemes, partition_names
from profiler.profile import INPUT, Slicing


def test_a_plan_names_the_modules_of_each_stage_and_containers_that_are_whole() -> None:
    split = (
        ("conv", "block.0.conv", "block.0.relu", "block.0.relu_1", "block.1.conv"),
        ("block.1.relu", "add", "head.0", "head.1"),
    )
    names = [name for layers in split for name in layers]
    found = profile([layer(name) for name in names], pairwise((INPUT, *names)))  # type: ignore[arg-type]
    plan = Planner(found, 2, 8).in_captured_order("as written", [5])
    assert plan.split == split
    assert plan.modules == (("conv", "block.0", "block.1.conv"), ("block.1.relu", "add", "head"))
    for layers, modules in zip(split, plan.modules, strict=True):
        for each in layers:
            assert sum(each == name or each.startswith(f"{name}.") for name in modules) == 1
    with pytest.raises(OptimizerError, match=r"cuts layers inside \(conv=2\), and a part of a layer is no module"):
        _ = replace(plan, slicing=Slicing("conv=2")).modules


def test_names_of_partitions_are_spelled_out_once() -> None:
    schemes = load_schemes()
    assert partition_names(["all"], schemes) == ["optimized", "sliced", "bf16", *schemes]
    assert partition_names(["end-load", "all"], schemes)[0] == "end-load"
    assert len(partition_names(["all", "optimized"], schemes)) == 3 + len(schemes)
