"""What one rank of torchrun refuses, alone in its session, before anything is started."""

import re
from collections.abc import Iterator

import pytest
from ports import lone_rank

from runtime.cli import main as cli

SMALL = ["--model", "alexnet", "--batch-size", "2", "--image-size", "64"]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with lone_rank(monkeypatch):
        yield


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["run", *SMALL], "every rank of torchrun needs the same plan; make one with python -m optimizer -o plan.json"),
        (["verify", *SMALL], "every rank of torchrun needs the same plan"),
        (["run", "--plan", "none.json", "--clock", "virtual"], "leave it out under torchrun"),
        (["run", "--plan", "none.json", "--channel", "shm"], "ranks of torchrun cannot meet in shared memory"),
        (["run", "--plan", "none.json"], "No such file"),
        (["compare", *SMALL], "compare starts its own processes; call it without torchrun, or use run or verify"),
    ],
)
@pytest.mark.usefixtures("in_folder")
def test_a_rank_refuses_in_one_sentence(capsys: pytest.CaptureFixture[str], argv: list[str], words: str) -> None:
    assert cli.main([*argv, "--rank-timeout", "5s"] if argv[0] != "compare" else argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(rf"error: .*{re.escape(words)}.*\n", said.err)
