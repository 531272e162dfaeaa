"""Small captured models, and plans that fit them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import small_models
import torch
from strategies import profile_of
from torch import nn

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.capture import laid_out
from profiler.capture.layer_graph import capture
from profiler.execution import Captured
from profiler.settings import UpdateRule
from runtime.pipeline import Settings

SHAPE = (4, 3, small_models.IMAGE_SIZE, small_models.IMAGE_SIZE)
RULE = UpdateRule(lr=0.05, momentum=0.9)
SEED = 3
SETTINGS = Settings(rule=RULE, seed=SEED)
MINIBATCHES = 7


def build(kind: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(11)
    return kind().train()


def captured_of(kind: Callable[[], nn.Module]) -> Captured:
    return capture(build(kind), "model", laid_out(torch.zeros(SHAPE)))


def plan_of(captured: Captured, bounds: Sequence[int] | None, stages: int = 4) -> Plan:
    """A plan with the given ideals as cuts, or the best one for made-up times; made to fit the captured model."""
    planner = Planner(profile_of(captured, seed=5), stages, MINIBATCHES)
    plan = planner.optimized() if bounds is None else planner.unlimited("chosen", bounds)
    return replace(plan, model_digest=captured.digest, input_shape=SHAPE, batch_size=SHAPE[0])
