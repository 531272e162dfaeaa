"""What a launcher's variables say, and what is refused of them."""

import pytest

from runtime.cluster import placement
from runtime.errors import InputError

OWN = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
ELASTIC = OWN | {
    "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "3",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}  # fmt: skip


@pytest.mark.parametrize("environment", [{}, {"RANK": "1"}, {"RANK": "1", "WORLD_SIZE": "4", "MASTER_PORT": "1"}])
def test_variables_of_something_else_are_no_launcher(environment: dict[str, str]) -> None:
    assert placement(environment) is None


def test_torchrun_and_other_launchers_are_understood() -> None:
    found = placement(ELASTIC)
    assert found is not None
    assert (found.rank, found.world_size, found.local_rank, found.local_world_size) == (1, 4, 1, 2)
    assert (found.master, found.port, found.attempt, found.has_store) == ("10.0.0.1", 29500, 3, True)
    by_hand = placement(OWN)
    assert by_hand is not None
    assert (by_hand.local_rank, by_hand.attempt, by_hand.has_store) == (0, 0, False)


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
