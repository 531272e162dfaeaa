from dataclasses import replace

import pytest
import small_models
from pipelines import captured_of, plan_of

from profiler.profile import INPUT
from runtime.errors import InputError
from runtime.pipeline.stage_segments import slices


def test_what_a_stage_sends_the_next_one_receives() -> None:
    captured = captured_of(small_models.Residual)
    plan = plan_of(captured, None)
    found = slices(captured, plan)
    assert [spec.name for spec in found[0].receives] == [INPUT]
    assert found[-1].sends == ()
    for above, below, stage in zip(found, found[1:], plan.stages, strict=False):
        assert above.sends == below.receives
        assert tuple(spec.name for spec in above.sends) == stage.boundary, "the planner sees the same boundary"


@pytest.mark.parametrize(("cut", "swapped"), [(0, False), (1, True), (3, False)])
def test_a_plan_that_is_no_split_of_the_model_is_refused(cut: int, swapped: bool) -> None:  # noqa: FBT001
    """It repeats layers, is against the order, or parts what shares a weight."""
    captured = captured_of(small_models.Tied)
    plan = plan_of(captured, None, 2)
    names = captured.layer_names
    layers = [names[:cut], names[cut:] if cut else names[:1]]
    layers = layers[::-1] if swapped else layers
    stages = tuple(replace(stage, layers=own) for stage, own in zip(plan.stages, layers, strict=True))
    with pytest.raises(InputError, match="the plan is no split of model: every layer has to be in one stage"):
        slices(captured, replace(plan, stages=stages))
