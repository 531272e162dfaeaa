"""What befalls a training while it runs ends it with a sentence, and what was trained before is there."""

import gc
import math
import os
import resource
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import small_models
import torch
from descriptors import open_descriptors
from torch import Tensor
from trained import Pairs, as_fed, assert_same, pairs, pipeline, plan_for, replay_of

from optimizer.schedule import ScheduleName, pace_of
from profiler.errors import FileError
from runtime.errors import InputError, RunError, TrainingWarning
from runtime.training import EpochRecord, Loaders, Part, Paused, checkpoint, train_epochs

pytestmark = pytest.mark.usefixtures("pinned_process", "kept_workers")
KIND = small_models.Residual


def spoilt(part: Pairs, at: int) -> Pairs:
    """The minibatches with one whose inputs are no numbers."""
    return [
        (inputs * float("nan") if number == at else inputs, targets) for number, (inputs, targets) in enumerate(part)
    ]


@pytest.mark.parametrize(("schedule", "channel"), [("1f1b", "shm"), ("zero-bubble", "shm"), ("zero-bubble", "gloo")])
def test_a_loss_that_is_no_number_ends_training_and_the_last_checkpoint_stays(
    schedule: ScheduleName, channel: str, tmp_path: Path
) -> None:
    plan, part, kept = plan_for(KIND, 3), pairs(6), tmp_path / "run.ckpt"
    with (
        pipeline(KIND, plan, schedule=schedule, channel=channel) as trained,
        pytest.raises(RunError, match=r"the loss of minibatch 4 is no number \(nan\): training diverged") as raised,
    ):
        train_epochs(
            trained, Loaders(training=spoilt(part, 4)), 1, limit=None, checkpoint=kept, every=2, report=nothing
        )  # fmt: skip
    assert any(f"{kept} has a part of all that was trained before" in note for note in raised.value.__notes__)
    with pipeline(KIND, plan, schedule=schedule) as resumed:
        resumed.resume(kept)
        assert (resumed.epoch, resumed.position) == (0, 4)
        assert all(torch.isfinite(tensor).all() for tensor in resumed.state_dict().values())
        resumed.train(part[4:])


def test_weights_that_are_no_numbers_are_not_written_over_a_checkpoint(tmp_path: Path) -> None:
    kept = tmp_path / "run.ckpt"
    with pipeline(KIND, plan_for(KIND, 2)) as trained:
        trained.train(pairs(2))
        trained.save(kept)
        content = kept.read_bytes()
        trained.load_state_dict({key: tensor * math.inf for key, tensor in trained.state_dict().items()})
        with pytest.raises(RunError, match="the weights are no finite numbers, and no checkpoint is written"):
            trained.save(kept)
    assert kept.read_bytes() == content


def hanging(part: Pairs, at: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from part[:at]
    threading.Event().wait()


@pytest.mark.parametrize(("schedule", "trained_on"), [("1f1b", 4), ("zero-bubble", 3), ("1f1b-flush", 3)])
def test_a_loader_that_hangs_is_named_and_what_came_before_is_trained(schedule: ScheduleName, trained_on: int) -> None:
    plan, part = plan_for(KIND, 2), pairs(6)
    every = None if schedule == "1f1b" else 3
    replay = replay_of(KIND, plan, pace_of(schedule, 2, every))
    with pipeline(KIND, plan, schedule=schedule, update_every=every, stall_timeout_s=1.0) as trained:
        begun_s = time.monotonic()
        with pytest.raises(
            InputError, match=r"minibatch 4 of the data of the loader did not come within 1 s: the loader hangs"
        ):
            trained.train(hanging(part, 4))
        assert time.monotonic() - begun_s < 20
        assert trained.minibatches == trained_on
        replay.part(as_fed(part[:trained_on]))
        assert_same(trained.state_dict(), replay)
        with pytest.raises(InputError, match="minibatch 0 of the data of the loader did not come within 1 s"):
            trained.train(hanging(part, 0))


def raising(part: Pairs, at: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from part[:at]
    raise OSError("the disk has gone")


@pytest.mark.parametrize("failing", [hanging, raising])
@pytest.mark.parametrize("at", [3, 4, 5])
def test_a_training_that_a_loader_cut_in_the_middle_of_an_update_resumes_to_what_it_would_have_been(
    failing: Callable[[Pairs, int], Iterator[tuple[Tensor, Tensor]]], at: int, tmp_path: Path
) -> None:
    plan, part, kept = plan_for(KIND, 2), pairs(9), tmp_path / "run.ckpt"
    replay = replay_of(KIND, plan, pace_of("1f1b-flush", 2, 3))
    with pipeline(KIND, plan, schedule="1f1b-flush", update_every=3, stall_timeout_s=1.0) as trained:
        with pytest.raises(InputError):
            trained.train(failing(part, at))
        trained.save(kept)
    with pipeline(KIND, plan, schedule="1f1b-flush", update_every=3) as trained:
        trained.resume(kept)
        trained.train(part[trained.position :])
        replay.part(as_fed(part))
        assert_same(trained.state_dict(), replay)


class Lengthy:
    """A loader that says that it has more minibatches than it yields."""

    def __init__(self, part: Pairs) -> None:
        self.part = part

    def __len__(self) -> int:
        return len(self.part) + 5

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.part)


def nothing(_record: "Part | EpochRecord") -> None:
    """Report nothing."""


@pytest.mark.parametrize("every", [2, 3, 4, None])
def test_an_epoch_ends_with_the_data_whatever_length_the_loader_says(every: int | None, tmp_path: Path) -> None:
    plan, part, kept = plan_for(KIND, 2), pairs(6), tmp_path / "run.ckpt"
    with pipeline(KIND, plan) as trained:
        for epochs in (2, 3):
            loaders = Loaders(training=Lengthy(part))
            records = train_epochs(trained, loaders, epochs, limit=None, checkpoint=kept, every=every, report=nothing)
            assert [record.minibatches for record in records] == [6] * (2 if epochs == 2 else 1)
            assert (trained.epoch, trained.position, trained.minibatches) == (epochs, 0, 6 * epochs)
            trained.resume(kept)
            assert (trained.epoch, trained.position, trained.minibatches) == (epochs, 0, 6 * epochs)


def test_a_loader_that_fails_in_a_later_part_of_an_epoch_is_told_with_its_own_number(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[Tensor, Tensor]]:
        yield from pairs(5)
        raise OSError("the disk is gone")

    loaders = Loaders(training=failing())
    with (
        pipeline(KIND, plan_for(KIND, 2)) as trained,
        pytest.raises(InputError, match="raised OSError at minibatch 5: the disk is gone"),
    ):
        train_epochs(trained, loaders, 1, limit=None, checkpoint=tmp_path / "run.ckpt", every=2, report=nothing)


@pytest.fixture
def full_disk() -> Iterator[Callable[[], Any]]:
    """What lets files grow no further, as a disk that fills up does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_checkpoint_that_cannot_be_written_does_not_end_training_and_leaves_the_last_one(
    tmp_path: Path, full_disk: Callable[[], Any]
) -> None:
    kept, part = tmp_path / "run.ckpt", pairs(3)
    with pipeline(KIND, plan_for(KIND, 2)) as trained:
        train_epochs(trained, Loaders(training=part), 1, limit=None, checkpoint=kept, every=None, report=nothing)
        content = kept.read_bytes()
        full_disk()
        with (
            pytest.warns(TrainingWarning, match=r"cannot write .*run.ckpt: File too large.*; training goes on"),
            pytest.raises(FileError, match=r"cannot write .*run.ckpt: File too large"),
        ):
            train_epochs(trained, Loaders(training=part), 3, limit=None, checkpoint=kept, every=None, report=nothing)
        assert (trained.epoch, trained.minibatches) == (3, 9)
        assert kept.read_bytes() == content
        assert os.listdir(tmp_path) == ["run.ckpt"]  # noqa: PTH208


def test_a_checkpoint_that_cannot_be_written_leaves_no_memory_behind(
    tmp_path: Path, full_disk: Callable[[], Any]
) -> None:
    with pipeline(KIND, plan_for(KIND, 2)) as trained:
        trained.train(pairs(2))
        full_disk()
        counts = []
        for _ in range(4):
            with pytest.raises(FileError, match=r"cannot write .*run.ckpt: File too large"):
                trained.save(tmp_path / "run.ckpt")
            gc.collect()
            counts.append(sum("memfd" in link for link in open_descriptors().values()))
    assert len(set(counts)) == 1


def test_what_cannot_be_kept_where_it_should_be_is_kept_elsewhere_when_training_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))

    def interrupted() -> Iterator[tuple[Tensor, Tensor]]:
        yield from pairs(2)
        os.kill(os.getpid(), signal.SIGINT)
        yield from pairs(9)

    loaders = Loaders(training=interrupted())
    with pipeline(KIND, plan_for(KIND, 2)) as trained, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(Paused) as paused:
            train_epochs(trained, loaders, 1, limit=None, checkpoint=Path("/dev/full"), every=None, report=nothing)
    assert paused.value.whole
    assert paused.value.checkpoint is not None
    assert paused.value.checkpoint.parent.parent == elsewhere
    assert torch.load(paused.value.checkpoint, weights_only=True)["minibatches"] == trained.minibatches
    assert any(f"it is in {paused.value.checkpoint} for now" in str(each.message) for each in said)


class Sized(torch.utils.data.DataLoader[Any]):
    """Says that it has so many minibatches; nothing where that is 0."""

    said = 0

    def __len__(self) -> int:
        if not self.said:
            raise TypeError("no length")
        return self.said


@pytest.mark.parametrize("said", [3, 5, 0])
def test_a_run_that_ended_with_the_last_minibatch_of_an_epoch_goes_on_as_the_whole_run_does(
    tmp_path: Path, said: int
) -> None:
    inputs, targets = (torch.cat(parts) for parts in zip(*pairs(3), strict=True))
    kept, states = tmp_path / "run.ckpt", []
    for ended_at in (None, 3):
        with pipeline(KIND, plan_for(KIND, 2), schedule="1f1b-flush", update_every=1) as trained:
            torch.manual_seed(7)
            loader = Sized(torch.utils.data.TensorDataset(inputs, targets), batch_size=4, shuffle=True)
            loader.said = said
            if ended_at:
                trained.train(loader)
                torch.manual_seed(7)
                trained.save(kept)  # as where a signal comes before the epoch is counted
                trained.resume(kept)
                assert (trained.epoch, trained.position) == (0, 3)
            loaders = Loaders(training=loader)
            train_epochs(trained, loaders, 2, limit=None, checkpoint=None, every=None, report=nothing)
            states.append(trained.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def rate_until_the_fourth(update: int) -> float:
    return 0.05 if update < 4 else -1.0


@pytest.mark.parametrize("schedule", ["1f1b", "zero-bubble"])
def test_a_learning_rate_that_is_none_later_is_told_in_one_sentence(schedule: ScheduleName) -> None:
    with (
        pipeline(KIND, plan_for(KIND, 3), schedule=schedule, learning_rate=rate_until_the_fourth) as trained,
        pytest.raises(InputError, match=r"^rate_until_the_fourth\(4\), the learning rate of update 4, .*-1"),
    ):
        trained.train(pairs(18))


def test_evaluation_on_a_loader_that_hangs_or_raises_ends_and_the_pipeline_goes_on() -> None:
    with pipeline(KIND, plan_for(KIND, 2), stall_timeout_s=1.0) as trained:
        with pytest.raises(InputError, match="minibatch 2 of the data to evaluate on did not come within 1 s"):
            trained.evaluate(hanging(pairs(6), 2))
        with pytest.raises(InputError, match="the data to evaluate on raised TypeError at minibatch 0"):
            trained.evaluate(3)  # type: ignore[arg-type]
        trained.train(pairs(2))
        assert 0 <= trained.evaluate(pairs(2)) <= 1


def test_an_update_that_a_slow_loader_leaves_incomplete_is_left_out_when_training_is_told_to_stop() -> None:
    plan, part = plan_for(KIND, 2), pairs(12)
    replay = replay_of(KIND, plan, pace_of("1f1b-flush", 2, 4))

    def pressed() -> Iterator[tuple[Tensor, Tensor]]:
        yield from part[:6]
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait()

    with pipeline(KIND, plan, schedule="1f1b-flush", update_every=4) as trained:
        with pytest.raises(KeyboardInterrupt):
            trained.train(pressed())
        assert trained.minibatches == 4
        replay.part(as_fed(part[:4]))
        assert_same(trained.state_dict(), replay)


def test_a_loader_and_what_it_holds_are_let_go_when_a_call_ends_and_all_calls_are_made_in_one_thread() -> None:
    held: list[weakref.ref[Any]] = []
    threads: set[int] = set()

    class Loader:
        def __iter__(self) -> "Loader":
            held.append(weakref.ref(self))
            self.left = pairs(2)
            return self

        def __next__(self) -> tuple[Tensor, Tensor]:
            threads.add(threading.get_ident())
            if not self.left:
                raise StopIteration
            return self.left.pop()

    gc.disable()
    try:
        with pipeline(KIND, plan_for(KIND, 2)) as trained:
            for _ in range(3):
                trained.train(Loader())
    finally:
        gc.enable()
    assert [ref() for ref in held] == [None] * 3
    assert len(threads) == 1


@pytest.mark.parametrize("ending", [SystemExit(0), KeyboardInterrupt()])
def test_a_loader_that_ends_its_program_is_named_and_what_came_before_is_trained(ending: BaseException) -> None:
    def ends() -> Iterator[tuple[Tensor, Tensor]]:
        yield from pairs(3)
        raise ending

    with pipeline(KIND, plan_for(KIND, 2)) as trained:
        kind = type(ending).__name__
        with pytest.raises(InputError, match=f"raised {kind} at minibatch 3"):
            trained.train(ends())
        assert trained.minibatches == 3
        with pytest.raises(InputError, match=f"the data to evaluate on raised {kind} at minibatch 3"):
            trained.evaluate(ends())


class Unmeasured(list[Any]):
    """Data that cannot say how many they are."""

    def __len__(self) -> int:
        raise OSError("no such table")


def test_a_loader_whose_length_raises_is_refused() -> None:
    with pytest.raises(InputError, match="the loader raised OSError when asked for its length: no such table"):
        _ = Loaders(training=Unmeasured()).length


@pytest.mark.parametrize("at", [1, 2, 8, 14])
def test_ctrl_c_while_a_checkpoint_is_written_comes_after_it(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, write = [0], checkpoint._Sink.write

    def pressed(self: checkpoint._Sink, data: bytes) -> int:
        calls[0] += 1
        if calls[0] == at:
            signal.raise_signal(signal.SIGINT)
        return write(self, data)

    monkeypatch.setattr(checkpoint._Sink, "write", pressed)
    content = {"a": torch.arange(1000), "b": torch.zeros(3)}
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write_tensors(tmp_path / "kept.pt", content, "--save")
    assert calls[0] > at
    assert torch.equal(torch.load(tmp_path / "kept.pt", weights_only=True)["a"], content["a"])
