"""Two processes that measure on one core at the same moment are told; one that does so twice itself is not."""

import pytest
from core_claims import another_process

from profiler.machine import claimed


def test_a_core_that_another_process_measures_on_is_told_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with another_process(3, 5):
        with claimed([5, 3, 7, 3]), claimed([3]):
            pass
        assert capsys.readouterr().err == (
            "another stageplan measures on cores 3,5 at the same moment, and times of both are off; wait for it, or "
            "choose other cores with --cores\n"
        )
        with claimed([4, 7]):
            pass
        assert capsys.readouterr().err == ""
    with claimed([3, 5]):
        pass
    assert capsys.readouterr().err == "", "a process that was killed claims nothing"
