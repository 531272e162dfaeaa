import small_models
from pipelines import captured_of, plan_of

from profiler.profile import INPUT
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
