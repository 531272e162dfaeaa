"""The log of a training run goes on from its last whole line."""

import json
import resource
import signal
from pathlib import Path

import pytest

from runtime.errors import TrainingWarning
from runtime.training import LogFile, Part

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
