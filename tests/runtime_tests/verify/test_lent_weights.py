"""A weight that layers of several stages share: for a minibatch, one version in all of them, and one update."""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle

import pytest
import small_models
import torch
from pipelines import MINIBATCHES, RULE, SEED, SETTINGS, SHAPE, build, captured_of, plan_of
from torch import Tensor, nn

from optimizer.plan import Plan
from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.execution import Captured
from runtime.pipeline import Execution
from runtime.results import CHANNELS, ChannelName
from runtime.supervisor import WorkerPool
from runtime.verify import verify
from runtime.worker import data

LENT = "first.weight"


def apart(captured: Captured, ends: tuple[str, ...]) -> Plan:
    """A plan with a cut directly behind each of these layers in captured order."""
    names = captured.layer_names
    cuts = [(1 << names.index(end) + 1) - 1 for end in ends]
    return plan_of(captured, [0, *cuts, (1 << len(names)) - 1], len(ends) + 1)


@pytest.mark.usefixtures("pinned_process")
@pytest.mark.parametrize(("schedule", "channel"), list(zip(SCHEDULES, cycle(CHANNELS), strict=False)))
def test_every_schedule_trains_what_its_replay_does_bit_for_bit(
    four_workers: WorkerPool, schedule: ScheduleName, channel: ChannelName
) -> None:
    captured = captured_of(small_models.Tied)
    plan = apart(captured, (LENT, "middle", "second"))
    homes = {name: number for number, stage in enumerate(plan.stages) for name in stage.layers}
    assert (homes["first"], homes[LENT], homes["second"]) == (0, 0, 2), "the stage between relays it"
    setting = replace(SETTINGS, pace=pace_of(schedule, 4, 3), channel=channel)
    with Execution(captured, four_workers, setting) as execution:
        found = verify("chosen", plan, execution, MINIBATCHES, lambda: None)
    assert found.first_difference is None
    assert found.identical


@pytest.mark.usefixtures("pinned_process")
def test_both_stages_use_the_owners_version_and_their_gradients_add_up(workers: Callable[[int], WorkerPool]) -> None:
    """1F1B with two stages, written from the recurrence: the first is one update behind, the last is not."""
    captured = captured_of(small_models.Tied)
    plan = apart(captured, ("middle",))
    setting = SETTINGS
    with Execution(captured, workers(2), setting) as execution, execution.loaded(plan, MINIBATCHES) as loaded:
        losses, state = loaded.run_loaded().result.losses, loaded.state_dict()
    model = build(small_models.Tied)
    newest = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    assert LENT in newest
    assert "second.weight" not in newest, "torch names it once, too"
    versions, expected = [newest], []
    moments = {name: torch.zeros_like(weight) for name, weight in newest.items()}
    for minibatch in range(MINIBATCHES):
        old, new = versions[max(0, minibatch - 1)], versions[minibatch]
        first = {name for name in new if name.startswith(("first", "inside"))}
        held = {name: (old if name in first else new)[name].clone().requires_grad_() for name in new}
        output = torch.func.functional_call(model, held, (data.inputs(SEED, minibatch, SHAPE),), tie_weights=True)
        loss = nn.functional.cross_entropy(output, data.targets(SEED, minibatch, SHAPE[:1], small_models.CLASSES))
        expected.append(loss.item())
        gradients: dict[str, Tensor] = dict(zip(held, torch.autograd.grad(loss, list(held.values())), strict=True))
        moments = {name: gradients[name] + RULE.momentum * moment for name, moment in moments.items()}
        versions.append({name: weight - RULE.lr * moments[name] for name, weight in new.items()})
    assert losses == pytest.approx(expected, rel=1e-5)
    for name, weight in versions[-1].items():
        torch.testing.assert_close(state[name], weight)


def test_a_plan_pays_for_what_is_lent_and_may_keep_it_in_one_stage() -> None:
    captured = captured_of(small_models.Tied)
    size = captured.specs[LENT].bytes
    together, between = apart(captured, ("inside",)), apart(captured, ("middle",))
    assert LENT not in together.stages[0].boundary
    assert LENT in between.stages[0].boundary
    assert between.stages[0].send_bytes >= size
    assert between.stages[1].send_bytes >= size, "its gradient comes back"
