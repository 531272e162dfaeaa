from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import Cause, Failure, RunError
from runtime.supervisor import WorkerPool
from runtime.supervisor.failures import error_of, hung, patience_s
from runtime.worker import Phase, Progress

NOW = 1000.0


def progress(phase: Phase, ago_s: float) -> Progress:
    return Progress(since_s=NOW - ago_s, phase=phase, done=1, doing="forward of minibatch 1")


def none_stopped(_stage: int) -> bool:
    return False


def failed(stage: int, cause: Cause, at_s: float, reason: str = "a reason", stack: str = "") -> Failure:
    who = f"stage {stage} (a … b) on core {stage}"
    return Failure(who=who, doing="forward of minibatch 3", reason=reason, cause=cause, at_s=at_s, stack=stack)


def test_where_all_wait_the_one_that_is_stopped_is_at_fault() -> None:
    stages = {0: progress(Phase.WAITING, 90), 1: progress(Phase.WAITING, 80)}
    assert hung(stages, [60, 60], NOW, none_stopped) == 0
    assert hung(stages, [60, 60], NOW, lambda stage: stage == 1) == 1


@given(
    st.lists(st.tuples(st.sampled_from(Phase), st.floats(0, 200)), min_size=1, max_size=5),
    st.floats(1, 100),
)
def test_who_is_declared_hung_was_late_and_nobody_else_was_working_if_it_waited(
    rows: list[tuple[Phase, float]], patience: float
) -> None:
    stages = {stage: progress(*row) for stage, row in enumerate(rows)}
    found = hung(stages, [patience] * len(rows), NOW, none_stopped)
    late = [stage for stage, one in stages.items() if NOW - one.since_s > patience]
    working = [stage for stage, one in stages.items() if one.phase != Phase.WAITING]
    if found is None:
        assert len(late) < len(stages) if not working else not set(late) & set(working)
    else:
        assert found in late
        assert found in working or not working


def test_patience_follows_the_prediction_unless_it_is_set() -> None:
    assert patience_s(None, 0.1) == 60.0
    assert patience_s(None, 10.0) == 200.0, "a stage ten times as slow as predicted is only slow"
    assert patience_s(5.0, 10.0) == 5.0


def test_the_first_at_fault_is_named_and_consequences_are_labelled() -> None:
    error = error_of(
        [
            failed(0, "neighbour", 1.0, "a neighbouring stage has gone"),
            failed(2, "stage", 3.0),
            failed(1, "stage", 2.0, "ValueError: no", stack="File x, line 1\n"),
        ]
    )
    assert isinstance(error, RunError)
    assert str(error) == "stage 1 (a … b) on core 1 failed in forward of minibatch 3: ValueError: no"
    assert error.__notes__ == [
        "besides: stage 2 (a … b) on core 2 in forward of minibatch 3: a reason",
        "a consequence: stage 0 (a … b) on core 0 in forward of minibatch 3: a neighbouring stage has gone",
        "stage 1 (a … b) on core 1 was here:\nFile x, line 1",
    ]


def test_a_death_comes_before_bad_input_that_may_follow_from_it() -> None:
    """A stage that dies while the others connect to it makes them say that the channel cannot be opened."""
    error = error_of([failed(0, "input", 1.0), failed(1, "stage", 2.0, "ended by SIGKILL")])
    assert isinstance(error, RunError)
    assert str(error).startswith("stage 1 ")
    assert error.__notes__ == ["besides: stage 0 (a … b) on core 0 in forward of minibatch 3: a reason"]


class Scripted(WorkerPool):
    """A pool without processes, whose stages answer in turn, each ten seconds after the one before."""

    def __init__(self, clock: list[float], states: Sequence[Progress]) -> None:
        self._clock, self._turn, self._look, self._alone = clock, iter(range(len(states) - 1, -1, -1)), None, True
        self._workers = [SimpleNamespace(pid=1, status=SimpleNamespace(read=lambda own=own: own)) for own in states]  # type: ignore[misc]

    def _ready(self, *_given: object) -> list[int]:
        self._clock[0] += 10.0
        return [next(self._turn)]

    def _answer(self, stage: int) -> None:
        assert stage in range(len(self))


def test_a_stage_that_waited_for_one_that_has_just_answered_has_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it waited for is there, and it may not have seen that yet."""
    clock = [NOW]
    monkeypatch.setattr("runtime.supervisor.pool.time.perf_counter", lambda: clock[0])
    pool = Scripted(clock, [progress(Phase.WAITING, 90), progress(Phase.WORKING, 1)])
    assert len(pool._heard([5.0, 60.0], None, None)) == 2
