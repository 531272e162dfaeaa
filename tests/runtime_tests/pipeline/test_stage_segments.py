from dataclasses import replace

import small_models
import torch
from strategies import profile_of

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.capture.layer_graph import capture
from profiler.execution import Captured
from profiler.profile import INPUT
from runtime.pipeline.stage_segments import slices

SHAPE = (2, 3, small_models.IMAGE_SIZE, small_models.IMAGE_SIZE)


def planned(model: torch.nn.Module, stages: int = 3) -> tuple[Captured, Plan]:
    captured = capture(model.train(), "model", torch.zeros(SHAPE))
    plan = Planner(profile_of(captured, seed=5), stages, 4).optimized()
    return captured, replace(plan, model_digest=captured.digest, input_shape=SHAPE)


def test_what_a_stage_sends_the_next_one_receives() -> None:
    captured, plan = planned(small_models.Residual(), 4)
    found = slices(captured, plan)
    assert [spec.name for spec in found[0].receives] == [INPUT]
    assert found[-1].sends == ()
    for above, below, stage in zip(found, found[1:], plan.stages, strict=False):
        assert above.sends == below.receives
        assert tuple(spec.name for spec in above.sends) == stage.boundary, "the planner sees the same boundary"
