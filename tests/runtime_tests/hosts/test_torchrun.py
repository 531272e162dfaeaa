"""What a launcher's variables say, and what is refused of them."""

import os
from pathlib import Path

import pytest

from runtime.errors import InputError
from runtime.hosts import placement, written_since_launch

OWN = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
ELASTIC = OWN | {
    "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}  # fmt: skip


@pytest.mark.parametrize("environment", [{}, {"RANK": "1"}, {"RANK": "1", "WORLD_SIZE": "4", "MASTER_PORT": "1"}])
def test_variables_of_something_else_are_no_launcher(environment: dict[str, str]) -> None:
    assert placement(environment) is None


def test_torchrun_and_other_launchers_are_understood() -> None:
    found = placement(ELASTIC)
    assert found is not None
    assert (found.rank, found.world_size, found.local_rank) == (1, 4, 1)
    assert (found.master, found.port, found.has_store) == ("10.0.0.1", 29500, True)
    by_hand = placement(OWN)
    assert by_hand is not None
    assert (by_hand.local_rank, by_hand.has_store) == (0, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RANK": "one"}, "RANK='one' is no whole number"),
        ({"RANK": "-1"}, "RANK='-1' is no whole number"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE='' is no whole number"),
        ({"RANK": "4"}, "RANK=4 of WORLD_SIZE=4"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR=''"),
    ],
)
def test_variables_that_make_no_sense_are_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        placement(ELASTIC | change)


def test_only_what_was_written_since_torchrun_was_started_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    kept = tmp_path / "kept.pt"
    kept.write_text("")
    assert not written_since_launch(kept), "no launcher"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    assert written_since_launch(kept)
    os.utime(kept, (1.0, 1.0))
    assert not written_since_launch(kept), "of an earlier training"
    assert not written_since_launch(tmp_path / "none.pt")
