"""The template that processes are forked from: what keeps it from being forked, and that none outlives its parent."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from control_group import small_group
from test_child_processes import origin

from profiler.errors import ProcessError
from profiler.machine import await_template, current_template, helper, tie_to
from profiler.machine.child_processes import _say_once
from profiler.machine.template import close_templates
from runtime.errors import RunError
from runtime.supervisor import WorkerPool

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _own_template(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A template for the test alone, for others' processes would end with it."""
    with monkeypatch.context() as patch:
        patch.setattr("profiler.machine.template._templates", {})
        patch.setattr("profiler.machine.template._forsaken", [])
        yield
        close_templates()


def test_a_process_is_forked_with_torch_and_in_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    await_template("torch")
    monkeypatch.setenv("SOME_SETTING", "of now")
    with helper(origin) as process:
        assert process.receive() == (current_template().pid, True, "of now")


def test_a_variable_that_libraries_read_at_their_start_takes_another_template(monkeypatch: pytest.MonkeyPatch) -> None:
    before = current_template().pid
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    with helper(origin) as process:
        assert process.receive()[0] not in {before, os.getpid()}
    assert current_template().pid != before


def test_a_template_that_was_killed_is_started_anew() -> None:
    before = current_template()
    os.kill(before.pid, signal.SIGKILL)
    psutil.Process(before.pid).wait(10)
    with helper(origin) as process:
        assert process.receive()[0] == current_template().pid != before.pid


def test_a_template_that_is_killed_at_its_work_is_told_in_a_sentence() -> None:
    source = current_template()
    source.settle()
    os.kill(source.pid, signal.SIGSTOP)
    source.import_modules(["torch.nn"])
    os.kill(source.pid, signal.SIGKILL)
    with pytest.raises(ProcessError, match=r"that others are forked from ended with SIGKILL, .*; try again"):
        source.settle()


def test_a_template_that_is_stopped_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    await_template()
    before = current_template()
    monkeypatch.setattr("profiler.machine.template.PATIENCE_S", 0.2)
    os.kill(before.pid, signal.SIGSTOP)
    with pytest.raises(ProcessError, match="is it stopped"), helper(origin):
        pass
    assert not psutil.pid_exists(before.pid)


def test_one_with_threads_is_not_forked_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    _say_once.cache_clear()
    for _ in range(2):
        with helper(origin) as process:
            assert process.receive()[0] == os.getpid()  # spawned
    said = capsys.readouterr().err
    assert said == "processes start in seconds, not at once: importing torch started 1 more threads here\n"


def test_no_room_for_one_more_process_is_told_in_a_sentence(usable: tuple[int, ...]) -> None:
    await_template()
    with small_group("pids") as group:
        if group is None:
            pytest.skip("no control group can be made here; that takes root")
        (group / "cgroup.procs").write_text(str(current_template().pid))
        try:
            (group / "pids.max").write_text("1")
            with pytest.raises(
                ProcessError, match=r"cannot be started: Resource temporarily unavailable; .* ulimit -a"
            ):
                helper(origin).__enter__()
            with pytest.raises(RunError, match=r"stage 0 cannot be started: Resource temporarily unavailable; look"):
                WorkerPool(usable[:1])
        finally:
            current_template().close()


def test_a_process_that_is_a_fork_itself_has_a_template_of_its_own() -> None:
    code = (
        f"import os, sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from profiler.machine import helper, current_template; from test_child_processes import origin\n"
        "def parent():\n"
        "    with helper(origin) as process: return process.receive()[0]\n"
        "first = parent(); child = os.fork()\n"
        "if not child: os._exit(parent() in (first, os.getpid()))\n"
        "print(os.waitpid(child, 0)[1], parent() == first)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("0 True\n", "")


def test_what_a_thread_starts_ends_with_it() -> None:
    numbers: list[int] = []

    def in_a_thread() -> None:
        with helper(origin) as process:
            numbers.append(process.receive()[0])

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    psutil.wait_procs([psutil.Process(number) for number in numbers if psutil.pid_exists(number)], 10)
    assert len(numbers) == 1
    with helper(origin) as process:
        assert process.receive()[0] not in numbers


def test_only_a_child_of_the_parent_is_tied_to_it() -> None:
    assert not tie_to(os.getpid())
