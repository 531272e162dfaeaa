import pytest
from rich.console import Console

from runtime.timeline import live_view
from runtime.timeline.live_run import rows
from runtime.worker import Phase, Progress


def test_each_stage_has_a_row_with_how_far_it_is_and_what_it_is_doing() -> None:
    progress = [
        Progress(since_s=10.0, busy_s=3.0, phase=Phase.WORKING, done=6, total=12, doing="forward of minibatch 2"),
        Progress(since_s=13.5, busy_s=1.0, phase=Phase.WAITING, done=12, total=12, doing="the wait for gradients"),
        Progress(since_s=15.0, busy_s=0.0, phase=Phase.IDLE, done=0, total=0, doing="nothing"),
    ]
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(rows(progress, (4, 5, 6), now_s=14.0))
    console.file.close()
    lines = [line.split() for line in console.export_text().splitlines() if line.strip()]
    first, second, third = (next(line for line in lines if line[0] == number) for number in "012")
    assert first[:4] == ["0", "4", "6/12", "█" * 12 + "·" * 12]
    assert first[-2:] == ["4.0", "3.0"]
    assert second[2:4] == ["12/12", "█" * 24]
    assert third[-2] == "0.0", "never below nothing"


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with live_view((0, 1)) as watch:
        assert watch is None, "stderr is no terminal here"
    assert capsys.readouterr().err == ""
