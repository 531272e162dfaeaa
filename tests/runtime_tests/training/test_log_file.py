"""The log of a training run goes on from its last whole line."""

import json
import resource
import signal
from pathlib import Path

import pytest

from runtime.errors import TrainingWarning
from runtime.results import StageTimes, TrainingResult
from runtime.training import Course, EpochRecord, LogFile, Part
from runtime.training.epochs import _foreign_load

PART = Part(epoch=0, first=2, losses=(0.5, None))


def test_a_line_that_a_full_disk_tore_is_cut_off_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"epoch": 0, "minibatch": 0, "loss": 1.0}\n{"epoch": 0, "minib')
    LogFile(path, resumed=True).write(PART)
    assert [json.loads(line)["minibatch"] for line in path.read_text().splitlines()] == [0, 2, 3]


def test_a_log_that_is_whole_is_gone_on_with_and_one_that_is_begun_anew_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"epoch": 0, "minibatch": 0, "loss": 1.0}\n')
    LogFile(path, resumed=True).write(PART)
    assert path.read_text().count("\n") == 3
    begun_anew = LogFile(path, resumed=False)
    assert path.read_text().count("\n") == 3  # until there is something to log
    begun_anew.write(PART)
    begun_anew.write(PART)
    assert path.read_text().count("\n") == 4
    LogFile(None, resumed=False).write(PART)


def test_a_log_that_cannot_be_written_is_warned_of_and_goes_on_with_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    log = LogFile(path, resumed=False)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log.write(PART)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 60, before[1]))  # one line more, and a half
        with pytest.warns(TrainingWarning, match=r"cannot write .*: File too large; .* lost, and training goes on"):
            log.write(PART)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    log.write(PART)
    assert [json.loads(line)["minibatch"] for line in path.read_text().splitlines()] == [2, 3, 2, 2, 3]


def trained(*stages: tuple[float, float]) -> TrainingResult:
    """A part of an epoch whose stages worked for so long, and had the processor for so long."""
    times = [
        StageTimes(
            minibatches=1, began_s=0.0, ended_s=1.0, forward_s=work_s, backward_s=0.0, weights_s=0.0, update_s=0.0,
            cpu_s=cpu_s, wait_s=0.0, peak_rss_bytes=None,
        )
        for work_s, cpu_s in stages
    ]  # fmt: skip
    return TrainingResult(minibatches=1, samples=4, seconds=1.0, losses=(0.5,), stages=tuple(times))


def test_an_epoch_was_as_loud_as_its_loudest_core_over_all_of_its_parts() -> None:
    assert _foreign_load([trained((1.0, 1.0), (1.0, 0.9)), trained((3.0, 2.0), (1.0, 0.9))]) == pytest.approx(0.25)
    assert _foreign_load([trained((0.0, 0.0))]) == 0.0
    assert _foreign_load([]) == 0.0


@pytest.mark.parametrize(("load", "sharing", "noisy"), [(0.4, False, True), (0.4, True, False), (0.01, False, False)])
def test_the_line_of_a_loud_epoch_says_so(load: float, sharing: bool, noisy: bool) -> None:  # noqa: FBT001
    record = EpochRecord(
        epoch=0, minibatches=2, samples=8, loss=0.5, seconds=2.0, metric="accuracy", validation=None, foreign_load=load
    )
    line = Course(3, None, resumed=False, sharing=sharing)._line(record)
    assert line.startswith("epoch 1/3: mean loss 0.5000, 4.0 samples/s")
    assert line.endswith("(NOISY: a core worked for others 40% of the time)") == noisy
