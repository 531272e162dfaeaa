"""Small captured models, and plans that fit them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import small_models
import torch
from strategies import profile_of
from torch import nn

from optimizer.plan import Plan, scheduled
from optimizer.planning import Planner
from optimizer.schedule import schedule_of
from profiler.capture import laid_out
from profiler.capture.layer_graph import capture
from profiler.execution import Captured
from profiler.profile import Precision
from profiler.settings import UpdateRule
from runtime.pipeline import Execution
from runtime.results import PartitionVerification
from runtime.supervisor import WorkerPool
from runtime.verify import verify
from runtime.worker import Settings

SHAPE = (4, 3, small_models.IMAGE_SIZE, small_models.IMAGE_SIZE)
RULE = UpdateRule(lr=0.05, momentum=0.9)
SEED = 3
SETTINGS = Settings(rule=RULE, seed=SEED)
MINIBATCHES = 7


def build(kind: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(11)
    return kind().train()


def captured_of(kind: Callable[[], nn.Module], precision: Precision = "fp32") -> Captured:
    return capture(build(kind), "model", laid_out(torch.zeros(SHAPE)), precision=precision)


def plan_of(captured: Captured, bounds: Sequence[int] | None, stages: int = 4) -> Plan:
    """A plan with the given ideals as cuts, or the best one for made-up times; made to fit the captured model."""
    planner = Planner(profile_of(captured, seed=5), stages, MINIBATCHES)
    plan = planner.optimized() if bounds is None else planner.unlimited("chosen", bounds)
    shape = captured.specs["input"].shape
    made = replace(
        plan,
        model_digest=captured.digest,
        slicing=captured.form.slicing,
        precision=captured.form.precision,
        input_shape=shape,
        batch_size=shape[0],
    )
    return scheduled(made, schedule_of(plan.pace, stages, MINIBATCHES))


def random_bounds(captured: Captured, seed: int) -> list[int]:
    """Four stages cut at random ideals, most of them inside the residual block and out of captured order."""
    planner = Planner(profile_of(captured, seed=5), 4, MINIBATCHES)
    costs = planner.costs
    ideals = planner.candidates.ideals
    drawn = random.Random(seed)  # noqa: S311 - any chain will do
    bounds = [0]
    for left in (3, 2, 1):
        larger = [i for i in ideals if i & bounds[-1] == bounds[-1] and i != bounds[-1]
                  and i.bit_count() <= len(costs.layers) - left]  # fmt: skip
        bounds.append(drawn.choice(larger[: max(1, len(larger) // 2)]))
    return [*bounds, costs.everything]


def verified(
    captured: Captured, pool: WorkerPool, plan: Plan, setting: Settings = SETTINGS, minibatches: int = MINIBATCHES
) -> PartitionVerification:
    with Execution(captured, pool, setting) as execution:
        return verify("chosen", plan, execution, minibatches, lambda: None)
