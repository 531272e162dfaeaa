"""Forwards that a record can get wrong: each is trained as plain PyTorch trains it, to the bit, or refused."""

import copy
from collections.abc import Callable

import odd_forwards
import pytest
import torch
from pipelines import plan_of
from torch import Tensor, nn
from trained import plainly

from optimizer.plan import Plan
from profiler.capture import live_model
from profiler.capture.live import captured_live
from profiler.errors import CaptureError, ModelError
from profiler.settings import SGD
from runtime.training import Pipeline

SAMPLES, MINIBATCHES, LR = 4, 3, 0.1


def minibatches() -> list[tuple[Tensor, Tensor]]:
    drawn = torch.Generator().manual_seed(1)
    return [
        (torch.randn(SAMPLES, odd_forwards.WIDTH, generator=drawn),
         torch.randint(odd_forwards.CLASSES, (SAMPLES,), generator=drawn))
        for _ in range(MINIBATCHES)
    ]  # fmt: skip


def planned(model: nn.Module) -> Plan:
    """Two stages, whatever the model's layers compute: the plan of somebody who did not hold them against it."""
    captured = captured_live(live_model(model, torch.randn(SAMPLES, odd_forwards.WIDTH)))
    return plan_of(captured, None, 2)


def trained_plainly(model: nn.Module) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and state_dict of the loop that anyone would write."""
    sgd = torch.optim.SGD(model.parameters(), lr=LR, foreach=False)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        output, targets = model(batch[0]), batch[1]
        heads = [head for head in output if head is not None] if isinstance(output, tuple) else [output]
        value = nn.functional.cross_entropy(heads[0], targets)
        for head in heads[1:]:
            value = value + 0.3 * nn.functional.cross_entropy(head, targets)
        return value

    return plainly(minibatches(), sgd, loss), model.state_dict()


@pytest.mark.filterwarnings("ignore:For backward hooks")
@pytest.mark.usefixtures("kept_workers", "pinned_process")
@pytest.mark.parametrize("kind", odd_forwards.KINDS)
def test_a_forward_is_trained_as_plain_pytorch_trains_it_or_refused(kind: Callable[[], nn.Module]) -> None:
    torch.manual_seed(2)
    model = kind()
    try:
        pipeline = Pipeline(model, planned(model), update=SGD(lr=LR), schedule="1f1b-flush", update_every=1)
    except (CaptureError, ModelError):
        return  # in which words is tested where models are held against their layers
    with pipeline:
        losses = pipeline.train(minibatches()).losses
        state = pipeline.state_dict()
    plain_losses, plain_state = trained_plainly(copy.deepcopy(model))
    assert list(losses) == plain_losses
    assert all(torch.equal(tensor, plain_state[name]) for name, tensor in state.items())
