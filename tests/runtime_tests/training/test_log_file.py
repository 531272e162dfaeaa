"""The log of a training run goes on from its last whole line."""

import json
from pathlib import Path

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
    LogFile(path, resumed=True)
    assert path.read_text().count("\n") == 1
    LogFile(path, resumed=False)
    assert path.read_text() == ""
    LogFile(None, resumed=False).write(PART)
