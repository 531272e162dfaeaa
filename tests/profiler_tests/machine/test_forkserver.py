"""Processes are forked by multiprocessing's forkserver: what they have of their parent, and that none outlives it."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest
from commands import python
from places import CHECKOUT
from processes import servers
from test_child_processes import dream, origin

from profiler.errors import ProcessError
from profiler.machine import helper

HERE = Path(__file__).parent


Server = Callable[[], psutil.Process]


def until_ended(process: psutil.Process) -> None:
    """Wait for a process's end, which its parent may not have asked for yet."""
    deadline = time.monotonic() + 10
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def killed(server: psutil.Process) -> int:
    server.kill()
    until_ended(server)
    return server.pid


def test_a_process_is_forked_with_torch_in_the_environment_of_now_and_anew_after_its_server_was_killed(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SETTING", "of now")
    forkserver.ensure_running()
    before = killed(own_server())  # that of a program's own
    with helper(origin) as process:
        assert process.receive() == (own_server().pid, True, "of now")
        assert own_server().pid != before
    before = killed(own_server())
    with helper(dream) as process:
        process.receive()
        assert own_server().pid != before
        own_server().kill()
        with pytest.raises(ProcessError, match=r"^the process that others are forked from ended, .*; try again$"):
            process.receive()


def test_nothing_of_the_current_folder_runs_in_it(tmp_path: Path) -> None:
    for name in ("json", "pickle", "socket", "torch", "multiprocessing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('mine')")
    code = (
        f"import os, sys; from pathlib import Path; sys.path.insert(0, {str(HERE)!r})\n"
        "from profiler.machine import helper; from test_child_processes import double\n"
        f"os.chdir({str(tmp_path)!r}); sys.path = [entry for entry in sys.path if entry]\n"
        "with helper(double, 4) as process: process.receive(); print(process.receive())"
    )
    done = python(CHECKOUT, "-c", code)
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_it_ends_with_its_parent_also_where_it_is_stopped() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from profiler.machine import helper; from test_child_processes import dream\n"
        "with helper(dream) as process: print(process.receive(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        dreamer = psutil.Process(int(parent.stdout.readline()))
        above = servers(psutil.Process(parent.pid))[0]
        above.suspend()
        parent.kill()
        until_ended(dreamer)
        above.resume()
        until_ended(above)
