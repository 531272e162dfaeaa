"""The template that processes are forked from: what keeps it from being forked, and that none outlives its parent."""

import errno
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from multiprocessing.connection import wait
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
from control_group import small_group
from descriptors import few_descriptors, open_descriptors
from places import CHECKOUT
from test_child_processes import double, dream, origin

from profiler.errors import ProcessError
from profiler.machine import await_template, current_template, helper, tie_to
from profiler.machine.child_processes import _say_once
from profiler.machine.template import CannotFork
from runtime.errors import RunError
from runtime.supervisor import WorkerPool
from runtime.supervisor.process_handle import started

HERE = Path(__file__).parent


pytestmark = pytest.mark.usefixtures("own_template")


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
    assert current_template().pid != before.pid


def test_one_that_is_forsaken_with_an_answer_unread_ends_with_its_last_child(monkeypatch: pytest.MonkeyPatch) -> None:
    with helper(dream) as process:
        number, source = process.receive(), current_template()
        source.import_modules(["profiler.python_words"])
        assert wait([source._line], 30)
        monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
        assert current_template() is not source
        os.kill(number, signal.SIGKILL)
        with pytest.raises(ProcessError, match="ended with SIGKILL"):
            process.receive()
    assert source._process.wait(30) == 0


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
    (number,) = numbers
    _, alive = psutil.wait_procs([psutil.Process(number)] if psutil.pid_exists(number) else [], 10)
    assert not alive
    with helper(origin) as process:
        assert process.receive()[0] not in numbers


def test_ctrl_c_while_it_is_awaited_ends_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_waited: object) -> NoReturn:
        raise KeyboardInterrupt

    with helper(double, 1) as process:
        assert process.receive() == "half way"
        with monkeypatch.context() as patch:
            patch.setattr("profiler.machine.template.wait", pressed)
            with pytest.raises(KeyboardInterrupt):
                await_template("torch")
        assert process.receive() == 2
    with helper(origin) as process:
        assert process.receive()[1], "what it was asked for is there"


def test_how_a_process_ended_is_known_while_the_template_is_busy() -> None:
    with helper(dream) as process:
        number = process.receive()
        os.kill(current_template().pid, signal.SIGSTOP)
        os.kill(number, signal.SIGKILL)
        with pytest.raises(ProcessError, match="ended with SIGKILL"):
            process.receive()
        os.kill(current_template().pid, signal.SIGCONT)


def test_a_helper_whose_template_ends_says_so() -> None:
    with helper(dream) as process:
        process.receive()
        os.kill(current_template().pid, signal.SIGKILL)
        with pytest.raises(ProcessError, match=r"^the process that others are forked from ended, .*; try again$"):
            process.receive()


def test_nothing_of_the_current_folder_runs_in_it(tmp_path: Path) -> None:
    for name in ("json", "pickle", "socket", "torch", "multiprocessing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('mine')")
    code = (
        f"import os, sys; from pathlib import Path; sys.path.insert(0, {str(HERE)!r}); sys.path.append(Path('odd'))\n"
        "from profiler.machine import helper, current_template; from test_child_processes import double\n"
        f"os.chdir({str(tmp_path)!r}); sys.path = [entry for entry in sys.path if entry]\n"
        "with helper(double, 4) as process: process.receive(); print(process.receive())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, cwd=CHECKOUT
    )
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_a_thousand_open_files_are_no_obstacle_and_too_many_are_told_in_a_sentence() -> None:
    await_template()
    with ExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
        for descriptor in files:
            stack.callback(os.close, descriptor)
        with helper(double, 3) as process:
            assert [process.receive(), process.receive()] == ["half way", 6]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(files) + 100, hard))
        with suppress(OSError):  # the limit is one of numbers, of which some below may be free
            while True:
                files.append(os.open(os.devnull, os.O_RDONLY))
                stack.callback(os.close, files[-1])
        for spare in files[-3:]:
            os.close(spare)
        with pytest.raises(ProcessError, match="cannot be started: Too many open files"):
            helper(double, 3).__enter__()
        for _ in files[-3:]:
            os.open(os.devnull, os.O_RDONLY)
        with pytest.raises(OSError, match="Too many open files"):  # for nothing was left open, and nothing closed
            os.open(os.devnull, os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))


@pytest.mark.parametrize("way", ["forked", "spawned", "no template can be started", "the template ends"])
def test_a_start_that_fails_leaves_no_descriptor_open(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object, **_options: object) -> NoReturn:
        raise CannotFork("a test says so") if way == "spawned" else OSError(errno.EAGAIN, "no room")

    gc.collect()
    ensure_running()
    if way == "forked":
        await_template()
    elif way == "the template ends":
        monkeypatch.setattr("profiler.machine.template._key", lambda: ())
        monkeypatch.setattr("profiler.machine.template.sys.executable", "/bin/false")
    else:
        monkeypatch.setattr("profiler.machine.template.subprocess.Popen", refused)
    failures, spares = 0, iter([*range(30), 1000] if way in {"forked", "spawned"} else [0, 1, 2, 1000, 1000])
    for spare in spares:
        before, stage = open_descriptors(), None
        with suppress(RunError, ProcessError), few_descriptors(spare):
            stage = started(0, 0, 1.0)
        if stage:
            stage.control.close()
            stage.process.join()
            stage.process.close()
            stage.status.close()
            break
        failures += 1
        assert open_descriptors() == before
    assert failures > 2
    assert bool(list(spares)) == (way in {"forked", "spawned"})


def test_only_a_child_of_the_parent_is_tied_to_it() -> None:
    assert not tie_to(os.getpid())
