"""2bw against what it has to equal at its ends: a flush of one round, and plain torch with weights one update old."""

from dataclasses import replace

import pytest
import small_models
import torch
from pipelines import MINIBATCHES, RULE, SEED, SETTINGS, SHAPE, build, captured_of, plan_of
from torch import Tensor, nn

from optimizer.plan import Plan
from optimizer.schedule import Pace
from profiler.execution import Captured
from runtime.pipeline import Execution
from runtime.results import CHANNELS, ChannelName
from runtime.supervisor import WorkerPool
from runtime.verify import verify
from runtime.worker import Settings, data


def wide() -> nn.Module:
    """A network whose second layer's weight is large enough for a place of its own."""
    features = SHAPE[1] * SHAPE[2] * SHAPE[3]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 5000), nn.ReLU(),
        nn.Linear(5000, 80), nn.ReLU(),
        nn.Linear(80, small_models.CLASSES),
    )  # fmt: skip


def trained(
    captured: Captured, plan: Plan, pool: WorkerPool, settings: Settings, minibatches: int = MINIBATCHES
) -> tuple[tuple[float | None, ...], dict[str, Tensor]]:
    with Execution(captured, pool, settings) as execution, execution.loaded(plan, minibatches) as loaded:
        return loaded.run_loaded().result.losses, loaded.state_dict()


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("channel", CHANNELS)
def test_one_update_for_all_minibatches_is_a_flush_of_one_round(four_workers: WorkerPool, channel: ChannelName) -> None:
    captured = captured_of(small_models.Residual)
    plan, settings = plan_of(captured, None), replace(SETTINGS, channel=channel)
    losses, state = trained(captured, plan, four_workers, replace(settings, pace=Pace("2bw", MINIBATCHES)))
    others, other = trained(captured, plan, four_workers, replace(settings, pace=Pace("1f1b-flush", MINIBATCHES)))
    assert losses == others
    assert all(torch.equal(tensor, other[path]) for path, tensor in state.items())


@pytest.mark.usefixtures("pinned_process")
def test_one_stage_that_updates_each_time_is_plain_torch_with_weights_one_update_old(usable: tuple[int, ...]) -> None:
    kind = small_models.Plain
    captured, model = captured_of(kind), build(kind).to(memory_format=torch.channels_last)
    setting = replace(SETTINGS, pace=Pace("2bw", 1), rule=replace(RULE, correct_staleness=False))
    with WorkerPool(usable[:1]) as pool:
        losses, state = trained(captured, plan_of(captured, None, 1), pool, setting)
    versions = [{name: weight.detach().clone() for name, weight in model.named_parameters()}]
    moments = {name: torch.zeros_like(weight) for name, weight in versions[0].items()}
    expected = []
    for minibatch in range(MINIBATCHES):
        held = {name: weight.clone().requires_grad_() for name, weight in versions[max(0, minibatch - 1)].items()}
        output = torch.func.functional_call(model, held, (data.inputs(SEED, minibatch, SHAPE),))
        loss = nn.functional.cross_entropy(output, data.targets(SEED, minibatch, SHAPE[:1], small_models.CLASSES))
        expected.append(loss.item())
        gradients = dict(zip(held, torch.autograd.grad(loss, list(held.values())), strict=True))
        moments = {name: gradients[name] + RULE.momentum * moment for name, moment in moments.items()}
        versions.append({name: weight - RULE.lr * moments[name] for name, weight in versions[-1].items()})
    assert losses == pytest.approx(expected, rel=1e-5)
    for name, weight in versions[-1].items():
        torch.testing.assert_close(state[name], weight)


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize("channel", CHANNELS)
def test_sums_within_products_are_replayed_bit_for_bit_and_are_a_flushs_up_to_rounding(
    four_workers: WorkerPool, channel: ChannelName
) -> None:
    captured = captured_of(wide)
    plan, settings = plan_of(captured, None), replace(SETTINGS, channel=channel, record_digests=True)
    with Execution(captured, four_workers, replace(settings, pace=Pace("2bw", 4))) as execution:
        assert verify("optimized", plan, execution, 11, lambda: None).first_difference is None
    _, state = trained(captured, plan, four_workers, replace(settings, pace=Pace("2bw", MINIBATCHES)))
    _, other = trained(captured, plan, four_workers, replace(settings, pace=Pace("1f1b-flush", MINIBATCHES)))
    for path, tensor in state.items():
        torch.testing.assert_close(tensor, other[path])
