"""``stageplan.plan`` and the command plan alike: for the same profile and the same wishes, the same file."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from networks import network_for
from precisions import with_lower
from strategies import chain, layer

import stageplan
from optimizer.cli import planned_forms
from optimizer.cli.main import main
from optimizer.errors import OptimizerError
from optimizer.planning import LOWERED, OPTIMIZED
from optimizer.schedule import PLAIN_1F1B
from profiler.errors import ConfigError
from profiler.files import from_json, to_json, write_whole
from profiler.profile import Profile, SlicedLayer
from profiler.settings import Config


def profile() -> Profile:
    """Five layers, one of which is most of the step, known in two blocks and in bfloat16."""
    made = chain([2, 2, 2, 12, 6])
    layers = tuple(replace(own, features=4 if own.name == "l3" else 0) for own in made.layers)
    third = layers[3].step_s * 1e3 / 6
    blocks = (replace(layer(f"l3.block{at}", (third, third, third)), part_of="l3", features=2) for at in range(2))
    parts = (*blocks, replace(layer("l3.concat", (0.01, 0.0, 0.0)), part_of="l3", kind="Concat"))
    whole = with_lower(replace(made, layers=layers, blocks=(SlicedLayer(layer="l3", parts=parts),)), [1, 1, 1, 5, 3])
    return from_json(to_json(whole), Profile, "p.json")


WISHES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"precision": "fp32"}, ["--precision", "fp32"]),
    ({"precision": "auto"}, ["--precision", "auto"]),
    ({"precision": "bf16", "slice": "none"}, ["--precision", "bf16", "--slice", "none"]),
    ({"precision": "fp32", "slice": "l3=2"}, ["--precision", "fp32", "--slice", "l3=2"]),
    ({"precision": "fp32", "cut_after": ["l0"]}, ["--precision", "fp32", "--cut-after", "l0"]),
    ({"method": "uniform"}, ["--method", "uniform"]),
    ({"method": "end-load", "schedule": "2bw"}, ["--method", "end-load", "--schedule", "2bw"]),
    ({"memory_limit_bytes": 64 << 20, "minibatches": 20}, ["--memory-limit", "64MiB", "--batches", "20"]),
]


@pytest.mark.usefixtures("in_folder")
@pytest.mark.parametrize(("wishes", "flags"), WISHES)
def test_python_and_the_command_write_the_same_plan(wishes: dict[str, Any], flags: list[str]) -> None:
    write_whole(Path("p.json"), to_json(profile()))
    given = ["--profile", "p.json", "--stages", "2", "--any-machine", "--quiet", "-o", "plan.json"]
    assert main([*given, *flags]) == 0
    plan = stageplan.plan(profile(), stages=2, **wishes)
    assert to_json(plan) == Path("plan.json").read_bytes()


@pytest.mark.parametrize(("names", "said"), [([OPTIMIZED, "uniform"], 1), ([OPTIMIZED, LOWERED], 0)])
def test_it_is_said_where_no_partition_chooses_bfloat16(
    names: list[str], said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.cli.planned.fresh_profile", lambda *_asked, **_options: profile())
    told: list[str] = []
    config = Config(model="test", stages=2, precision="auto", slice="none")
    assert bool(planned_forms(config, PLAIN_1F1B, names, told.append).lowered) != bool(said)
    left_out = [sentence for sentence in told if "is not among optimized, uniform; name it, too" in sentence]
    assert len(left_out) == said


def test_a_layer_that_is_too_large_is_cut_inside_from_python_too() -> None:
    found = stageplan.plan(profile(), stages=2, precision="fp32")
    assert found.slicing == "l3=2+2"
    whole = stageplan.plan(profile(), stages=2, precision="fp32", slice="none")
    assert found.bottleneck_s < 0.98 * whole.bottleneck_s
    unknown = stageplan.plan(replace(profile(), blocks=()), stages=2, precision="fp32")
    assert (unknown.slicing, unknown.split) == ("", whole.split), "what is not known in blocks stays whole"


def test_links_are_planned_for_from_python_too() -> None:
    own = replace(profile(), lowered=None)
    links = network_for(own, [Fraction(1), Fraction(3)], [(0, 0, 0)])
    plan = stageplan.plan(own, links=links, slice="none")
    assert plan.network == links
    assert len(plan.stages[0].layers) > len(plan.stages[1].layers), "the slower rank has less"


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"method": "best"}, "there is no method 'best'"),
        ({"method": "uniform", "cut_after": ["l0"]}, "cut_after is of the best split and"),
        ({"slice": ""}, "the slicing is empty"),
        ({"slice": "l3"}, "is no layer with its blocks"),
        ({"method": "uniform", "slice": "l3=2"}, "knows whole layers only"),
        ({"slice": "l3=4", "precision": "fp32"}, "does not say what l3 costs in blocks"),
        ({"cut_after": "l0"}, "cut_after has to be a list"),
        ({"cut_after": ["l0,"]}, "'l0,' is not a list of layers"),
    ],
)
def test_wishes_that_cannot_be_had_are_refused(wishes: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, OptimizerError)) as refused:
        stageplan.plan(profile(), stages=2, **wishes)
    assert words in str(refused.value)
    assert "--" not in str(refused.value), "no flags in Python's words"
