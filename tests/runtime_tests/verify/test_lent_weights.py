"""A weight that layers of several stages share: for a minibatch, one version in all of them, and one update."""

from dataclasses import replace
from itertools import cycle

import pytest
import small_models
from pipelines import SETTINGS, captured_of, plan_of, verified
from trained import as_fed, assert_same, pairs, pipeline, replay_of

from optimizer.plan import Plan
from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.execution import Captured
from runtime.results import CHANNELS, ChannelName
from runtime.supervisor import WorkerPool

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
    found = verified(captured, four_workers, plan, setting)
    assert found.first_difference is None
    assert found.identical


@pytest.mark.usefixtures("pinned_process", "kept_workers")
def test_both_stages_use_the_owners_version_and_their_gradients_add_up() -> None:
    kind = small_models.Tied
    plan = apart(captured_of(kind), ("middle",))
    replay = replay_of(kind, plan)
    with pipeline(kind, plan, schedule="1f1b") as trained:
        trained.train(pairs(7))
        replay.part(as_fed(pairs(7)))
        assert_same(trained.state_dict(), replay)


def test_a_plan_pays_for_what_is_lent_and_may_keep_it_in_one_stage() -> None:
    captured = captured_of(small_models.Tied)
    size = captured.specs[LENT].bytes
    together, between = apart(captured, ("inside",)), apart(captured, ("middle",))
    assert LENT not in together.stages[0].boundary
    assert LENT in between.stages[0].boundary
    assert between.stages[0].send_bytes >= size
    assert between.stages[1].send_bytes >= size, "its gradient comes back"
