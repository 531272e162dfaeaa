"""Pipelines over small models that are in memory, and what a replay trains on the same minibatches."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import small_models
import torch
from pipelines import RULE, SEED, SHAPE, build, captured_of, plan_of
from replay import Replay, stages_of_calls
from torch import Tensor, nn

from optimizer.plan import Plan
from optimizer.schedule import PLAIN_1F1B, Pace
from profiler.capture import laid_out
from profiler.profile import Precision
from runtime.training import Pipeline

Pairs = list[tuple[Tensor, Tensor]]


def loader(*sizes: int, seed: int = 1) -> Pairs:
    drawn = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, *SHAPE[1:], generator=drawn), torch.randint(small_models.CLASSES, (size,), generator=drawn))
        for size in sizes
    ]


def pairs(count: int, seed: int = 1, last: int = SHAPE[0]) -> Pairs:
    """Minibatches of which the last has ``last`` samples."""
    return loader(*[SHAPE[0]] * (count - 1), last, seed=seed)


def plan_for(
    kind: Callable[[], nn.Module], stages: int, bounds: Sequence[int] | None = None, precision: Precision = "fp32"
) -> Plan:
    return plan_of(captured_of(kind, precision), bounds, stages)


def pipeline(kind: Callable[[], nn.Module], plan: Plan, **options: Any) -> Pipeline:
    return Pipeline(build(kind), plan, update=options.pop("update", RULE), seed=SEED, **options)


def replay_of(kind: Callable[[], nn.Module], plan: Plan, pace: Pace = PLAIN_1F1B) -> Replay:
    """The replay of a split, whose weights are laid out as stages have them."""
    captured = captured_of(kind)
    model: nn.Module = build(kind).to(memory_format=torch.channels_last)
    stage_of = stages_of_calls(captured, plan, model)
    return Replay(model, stage_of, SEED, lr=RULE.lr, momentum=RULE.momentum, pace=pace, precision=plan.precision)


def as_fed(minibatches: Pairs) -> Pairs:
    """The minibatches as they arrive in the first and last stage."""
    return [(laid_out(inputs), targets) for inputs, targets in minibatches]


def assert_same(state: dict[str, Tensor], replay: Replay) -> None:
    """A state_dict has the weights and buffers of a replay, bit for bit."""
    for name, weight in replay.versions[-1].items():
        assert torch.equal(state[name], weight), name
    for name, buffer in replay.model.named_buffers():
        if name in state:
            assert torch.equal(state[name], buffer), name


def plainly(
    batches: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    loss: Callable[[Any], Tensor],
    before_step: Callable[[int], object] = lambda _update: None,
) -> list[float]:
    """Train with the loop that anyone would write; return the losses, each of a minibatch."""
    losses = []
    for update, batch in enumerate(batches):
        optimizer.zero_grad()
        value = loss(batch)
        losses.append(value.item())
        torch.autograd.backward(value)
        before_step(update)
        optimizer.step()
    return losses
