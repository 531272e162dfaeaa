from dataclasses import replace

import pytest
import small_models
import torch
from strategies import profile_of

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.capture.layer_graph import capture
from profiler.execution import Captured
from profiler.profile import INPUT
from runtime.errors import InputError
from runtime.pipeline.stage_segments import slices

SHAPE = (2, 3, small_models.IMAGE_SIZE, small_models.IMAGE_SIZE)


def planned(model: torch.nn.Module, stages: int = 3) -> tuple[Captured, Plan]:
    captured = capture(model.train(), "model", torch.zeros(SHAPE))
    plan = Planner(profile_of(captured, seed=5), stages, 4).optimized()
    return captured, replace(plan, model_digest=captured.digest, input_shape=SHAPE)


def with_layers(plan: Plan, *layers: tuple[str, ...]) -> Plan:
    return replace(
        plan, stages=tuple(replace(stage, layers=own) for stage, own in zip(plan.stages, layers, strict=True))
    )


def test_what_a_stage_sends_the_next_one_receives() -> None:
    captured, plan = planned(small_models.Residual(), 4)
    found = slices(captured, plan)
    assert [spec.name for spec in found[0].receives] == [INPUT]
    assert found[-1].sends == ()
    for above, below, stage in zip(found, found[1:], plan.stages, strict=False):
        assert above.sends == below.receives
        assert tuple(spec.name for spec in above.sends) == stage.boundary, "the planner sees the same boundary"


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((("stem", "stem_norm", "fc"), ("relu",)), "exactly once: see 'add'"),
        ((("flatten", "inside", "inside"), ("first",)), "exactly once"),
    ],
)
def test_a_plan_that_misses_or_repeats_layers_is_refused(layers: tuple[tuple[str, ...], ...], words: str) -> None:
    captured, plan = planned(small_models.Residual(), 2)
    with pytest.raises(InputError, match=words):
        slices(captured, with_layers(plan, *layers))


def test_a_plan_against_the_order_is_refused() -> None:
    captured, plan = planned(small_models.Plain(), 2)
    names = captured.layer_names
    with pytest.raises(InputError, match=r"puts 'layers\.1' into stage 0, before 'layers\.0' in stage 1"):
        slices(captured, with_layers(plan, names[1:], names[:1]))


def test_a_plan_that_parts_shared_weights_is_refused() -> None:
    captured, plan = planned(small_models.Tied(), 2)
    names = captured.layer_names
    at = names.index("first.weight")
    with pytest.raises(InputError, match=r"parts 'first' and 'first.weight'"):
        slices(captured, with_layers(plan, names[:at], names[at:]))
