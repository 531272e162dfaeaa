"""Pipelines with stage processes of their own: several at once, from a thread, and one whose stage dies."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
import small_models
import torch
from processes import stage_pids
from torch import Tensor
from trained import as_fed, assert_same, pairs, pipeline, plan_for, replay_of

from runtime.errors import RunError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pinned_process")]


def test_two_pipelines_train_side_by_side_one_of_them_in_a_thread_and_leave_nothing_behind() -> None:
    kind, before = small_models.Plain, stage_pids()
    plan = plan_for(kind, 2)
    states: list[dict[str, Tensor]] = []

    def in_a_thread() -> None:
        with pipeline(kind, plan, schedule="1f1b") as other:
            other.train(pairs(5))
            states.append(other.state_dict())

    thread = threading.Thread(target=in_a_thread)
    with pipeline(kind, plan, schedule="1f1b") as trained:
        thread.start()
        trained.train(pairs(5))
        thread.join()
        states.append(trained.state_dict())
    replay = replay_of(kind, plan)
    replay.part(as_fed(pairs(5)))
    for state in states:
        assert_same(state, replay)
    assert stage_pids() == before


def test_a_stage_that_dies_ends_the_pipeline_with_a_sentence_and_nothing_is_left() -> None:
    kind, before = small_models.Plain, stage_pids()

    def struck() -> Iterator[tuple[Tensor, Tensor]]:
        for number, pair in enumerate(pairs(9)):
            if number == 6:
                os.kill(max(stage_pids() - before), signal.SIGKILL)
            yield pair

    with (
        pytest.raises(RunError, match="the process was ended by SIGKILL"),
        pipeline(kind, plan_for(kind, 2)) as trained,
    ):
        trained.train(struck())
    assert stage_pids() == before
    with pytest.raises(RunError, match="train needs the stage processes"):
        trained.train(pairs(1))


def test_a_loader_with_worker_processes_is_read_once() -> None:
    kind = small_models.Plain
    inputs, targets = (torch.cat(parts) for parts in zip(*pairs(4), strict=True))
    dataset = torch.utils.data.TensorDataset(inputs, targets)
    replay = replay_of(kind, plan_for(kind, 2))
    with pipeline(kind, plan_for(kind, 2), schedule="1f1b") as trained:
        for _ in range(2):
            trained.train(torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=1))
            replay.part(as_fed(pairs(4)))
        assert_same(trained.state_dict(), replay)
