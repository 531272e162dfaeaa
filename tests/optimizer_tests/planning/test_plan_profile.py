"""``stageplan.plan`` and the command plan alike: for the same profile and the same wishes, the same file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from other_forms import cuttable, lowered, sliced
from strategies import chain

import stageplan
from optimizer.cli import planned_models
from optimizer.cli.main import main
from optimizer.errors import PartitionError
from optimizer.planning import LOWERED, OPTIMIZED
from optimizer.schedule import PLAIN_1F1B
from profiler.files import from_json, to_json, write_whole
from profiler.profile import BF16, FP32, Precision, Profile, Slicing
from profiler.settings import Config


def profile(precision: Precision = FP32) -> Profile:
    """Five layers, one of which is most of the step."""
    made = lowered(chain([2, 2, 2, 12, 6]), [1, 1, 1, 5, 3]) if precision == BF16 else chain([2, 2, 2, 12, 6])
    return from_json(to_json(cuttable(made, ["l3"], 4)), Profile, "p.json")


WISHES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"cut_after": ["l0"]}, ["--cut-after", "l0"]),
    ({"method": "end-load", "schedule": "zero-bubble"}, ["--method", "end-load", "--schedule", "zero-bubble"]),
    ({"memory_limit_bytes": 64 << 20, "minibatches": 20}, ["--memory-limit", "64MiB", "--batches", "20"]),
]
FORMS = [profile(), profile(BF16), sliced(profile(), Slicing("l3=2+2"))]


@pytest.mark.usefixtures("in_folder")
@pytest.mark.parametrize(("wishes", "flags"), WISHES)
@pytest.mark.parametrize("found", FORMS[:2], ids=["fp32", "bf16"])
def test_python_and_the_command_write_the_same_plan(wishes: dict[str, Any], flags: list[str], found: Profile) -> None:
    write_whole(Path("p.json"), to_json(found))
    given = ["--profile", "p.json", "--stages", "2", "--any-machine", "--quiet", "-o", "plan.json"]
    assert main([*given, *flags]) == 0
    plan = stageplan.plan(found, stages=2, **wishes)
    assert plan.form == found.form
    assert to_json(plan) == Path("plan.json").read_bytes()


@pytest.mark.parametrize(("names", "said"), [([OPTIMIZED, "equal-load"], 1), ([OPTIMIZED, LOWERED], 0)])
def test_it_is_said_where_no_partition_chooses_bfloat16(
    names: list[str], said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.cli.planned.fresh_profile", lambda *_asked, **_options: profile())
    monkeypatch.setattr("optimizer.cli.planned.profiles_of_forms", lambda *_asked: lambda _form: profile(BF16))
    told: list[str] = []
    config = Config(model="test", stages=2, precision="auto", slice="none")
    assert bool(planned_models(config, PLAIN_1F1B, names, told.append).lowered) != bool(said)
    left_out = [sentence for sentence in told if "is not among optimized, equal-load; name it, too" in sentence]
    assert len(left_out) == said


def test_a_profile_whose_layers_are_cut_inside_is_planned_for_from_python_too() -> None:
    found = stageplan.plan(FORMS[2], stages=2)
    assert found.slicing == "l3=2+2"
    assert found.bottleneck_s < 0.98 * stageplan.plan(profile(), stages=2).bottleneck_s
    with pytest.raises(PartitionError, match="its layers are cut inside, and all but the best split"):
        stageplan.plan(FORMS[2], stages=2, method="end-load")


def test_over_a_slow_network_the_cut_moves_to_a_narrow_place() -> None:
    wide = chain([4] * 6)
    sizes = dict.fromkeys(("l0", "l2", "l3", "l4"), 1_000_000) | {"l1": 100, "l5": 4}
    layers = tuple(replace(own, output_bytes=sizes[own.name], gradient_bytes=sizes[own.name]) for own in wide.layers)
    found = replace(wide, layers=layers)
    assert stageplan.plan(found, stages=2).cuts == ("l2",)
    over = stageplan.plan(found, stages=2, link=(100, 0.2))
    assert over.cuts == ("l1",)
    assert over.stages[0].send_forward_s == pytest.approx(0.2e-3 + 100 * 8 / 100e6)
