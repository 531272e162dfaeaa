"""Whatever befalls a stage: the run ends at once, one message says which stage and why, and nothing is left behind."""

import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import small_models
import torch
from pipelines import MINIBATCHES, RULE, SEED, SHAPE, captured_of, plan_of
from places import HELPERS
from ports import listening
from processes import forked, servers, stage_pids

from optimizer.schedule import pace_of
from profiler.capture import captured_model
from profiler.capture.layer_graph import capture
from profiler.execution import Captured
from profiler.files import to_json
from profiler.settings import config as configuration
from runtime.errors import InputError, RunError
from runtime.pipeline import Execution
from runtime.results import ChannelName, Clock
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

pytestmark = pytest.mark.slow

TOLD_WITHIN_S = 2.0
BOUNDS = (0, 0b00011, 0b01111, 0b11111)
"""Three stages: flatten and first; fault and relu; last."""
TORCHS_OWN = "TORCHINDUCTOR_CACHE_DIR"
"""The folder that torch makes in TMPDIR, if no other is named, as torchvision is imported, and leaves there."""


def shared_memory() -> set[str]:
    """What lies in /dev/shm, without what other processes, tests beside this one, start their forkservers with."""
    names = os.listdir("/dev/shm")  # noqa: PTH208, S108
    return {name for name in names if not re.match(rf"stageplan-(?!{os.getpid()}-)\d+-", name)}


@pytest.fixture
def struck_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a stage notes when it was struck; afterwards, nothing else of the run may be left."""
    marks = tmp_path / "marks"
    rest = tmp_path / "rest"
    marks.mkdir()
    rest.mkdir()
    monkeypatch.setenv("STRUCK_AT", str(marks / "struck"))
    monkeypatch.setenv("TMPDIR", str(rest))
    monkeypatch.setenv(TORCHS_OWN, str(marks / "torch"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(rest)
    before, threads = (listening(), shared_memory(), stage_pids()), set(threading.enumerate())
    yield marks / "struck"
    assert (listening(), shared_memory(), stage_pids()) == before
    assert not set(threading.enumerate()) - threads
    assert not list(rest.iterdir())


@contextmanager
def running(
    captured: Captured, cores: Sequence[int], *, stall_timeout_s: float | None = None, **settings: Any
) -> Iterator[tuple[WorkerPool, Execution]]:
    chosen = Settings(rule=RULE, seed=SEED, **settings)
    with WorkerPool(cores, stall_timeout_s=stall_timeout_s) as pool, Execution(captured, pool, chosen) as execution:
        yield pool, execution


def run(captured: Captured, usable: tuple[int, ...], *, clock: Clock = "wall", **options: Any) -> None:
    cores = [usable[0]] * 3 if clock == "virtual" else [usable[stage % len(usable)] for stage in range(3)]
    with running(captured, cores, clock=clock, **options) as (_, execution):
        execution.run(plan_of(captured, BOUNDS, stages=3), MINIBATCHES)


def failing(how: str, after: int) -> Captured:
    return captured_of(lambda: small_models.Failing(how, after))


RUN = 2
"""Calls of each kind in a warm-up of the middle stage, which has two minibatches in flight."""


@pytest.mark.parametrize(
    ("how", "after", "channel", "words"),
    [
        ("raise forward", 0, "shm", "hand-over and warm-up: ValueError: on purpose"),
        ("raise forward", RUN + 2, "gloo", "forward of minibatch 2: ValueError: on purpose"),
        ("raise backward", RUN + MINIBATCHES - 1, "shm", f"backward of minibatch {MINIBATCHES - 1}: ValueError"),
        ("memory forward", RUN + 1, "shm", "forward of minibatch 1: RuntimeError: .*can't allocate memory"),
        ("exit forward", RUN, "gloo", "forward of minibatch 0: the process exited with 3"),
        ("exit backward", RUN + 1, "shm", "backward of minibatch 1: the process exited with 3"),
        ("crash backward", RUN, "shm", "backward of minibatch 0: the process was ended by SIGSEGV"),
        (
            "kill forward",
            0,
            "gloo",
            "hand-over and warm-up: .* SIGKILL, by hand or by the kernel because",
        ),
        ("kill backward", RUN + MINIBATCHES - 1, "gloo", f"backward of minibatch {MINIBATCHES - 1}: .* SIGKILL"),
    ],
)
def test_a_stage_that_fails_ends_the_run_at_once_and_is_named(  # noqa: PLR0917
    struck_at: Path, usable: tuple[int, ...], how: str, after: int, channel: ChannelName, words: str
) -> None:
    with pytest.raises(RunError, match=rf"^stage 1 \(fault … relu\) on core \d+ failed in {words}") as caught:
        run(failing(how, after), usable, channel=channel)
    assert time.perf_counter() - float(struck_at.read_text()) < TOLD_WITHIN_S
    notes: list[str] = getattr(caught.value, "__notes__", [])
    if how.startswith(("raise", "crash")):
        assert notes[-1].startswith("stage 1 (fault … relu) on core ")
        assert " was here:" in notes[-1]
        assert "small_models.py" in notes[-1]
        notes = notes[:-1]
    assert all(note.startswith("a consequence: stage ") for note in notes if "was here" not in note)


@pytest.mark.usefixtures("own_server")
def test_a_forkserver_that_is_killed_ends_all_stages_and_that_is_said(struck_at: Path, usable: tuple[int, ...]) -> None:
    with pytest.raises(
        RunError, match=r"^the process that others are forked from ended, by hand, .*; try again$"
    ) as caught:
        run(failing("orphan forward", RUN + 1), usable)
    assert time.perf_counter() - float(struck_at.read_text()) < TOLD_WITHIN_S
    assert not getattr(caught.value, "__notes__", [])


def test_an_update_that_raises_is_named(struck_at: Path, usable: tuple[int, ...]) -> None:
    tokens = torch.zeros(4, 4, dtype=torch.int64)
    captured = capture(small_models.SparseGradient().train(), "sparse", tokens)
    plan = replace(plan_of(captured, (0, 0b0011, 0b0111, 0b1111), 3), vocabulary=10)
    words = r"stage 0 \(words … fault\) .* failed in update of minibatch 0: RuntimeError"
    with running(captured, [usable[0]] * 3, vocabulary=10) as (_, execution), pytest.raises(RunError, match=words):
        execution.run(plan, MINIBATCHES)
    assert struck_at.exists()


def test_a_stage_that_stops_is_declared_hung_after_the_stall_timeout(struck_at: Path, usable: tuple[int, ...]) -> None:
    with pytest.raises(RunError, match=r"stage 1 .* in forward of minibatch 1: .*stopped \(SIGSTOP\).*--stall-timeout"):
        run(failing("stop forward", RUN + 1), usable, stall_timeout_s=3.0)
    assert 3.0 <= time.perf_counter() - float(struck_at.read_text()) < 3.0 + TOLD_WITHIN_S


@pytest.mark.parametrize(
    ("how", "words", "patience_s"),
    [
        ("raise forward", "ValueError: on purpose", 0.0),
        ("kill forward", "the process was ended by SIGKILL", 0.0),
        ("stop forward", "not done after .*stopped", 2.0),
    ],
)
def test_a_stage_that_fails_in_its_turn_is_named_and_takes_nobody_with_it(
    struck_at: Path, usable: tuple[int, ...], how: str, words: str, patience_s: float
) -> None:
    """The others sleep, for the core is its own at that time."""
    with pytest.raises(RunError, match=rf"^stage 1 .* failed in forward of minibatch 2: {words}"):
        run(failing(how, RUN + 2), usable, clock="virtual", stall_timeout_s=patience_s or None)
    assert patience_s <= time.perf_counter() - float(struck_at.read_text()) < patience_s + TOLD_WITHIN_S


@pytest.mark.usefixtures("struck_at")
def test_a_stage_that_is_slow_is_not_declared_dead(usable: tuple[int, ...]) -> None:
    """The others wait for it for longer than the stall timeout, which each of its own actions keeps."""
    stages, bounds = 4, (0, 0b00011, 0b00111, 0b01111, 0b11111)
    captured = failing("slow forward", stages - 1)  # which stage 1 has in flight, before it runs a backward
    cores = [usable[stage % len(usable)] for stage in range(stages)]
    pace = pace_of("1f1b", stages)
    with running(captured, cores, stall_timeout_s=0.8, pace=pace) as (_, execution):
        result = execution.run(plan_of(captured, bounds, stages=stages), MINIBATCHES)
    assert max(action.wait_s for action in result.stages[0].actions) > 0.8
    assert len(result.losses) == MINIBATCHES


def test_a_process_that_dies_while_it_starts_is_named(usable: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorkerPool, "_hand_over", lambda _pool, worker: os.kill(worker.pid, signal.SIGKILL))
    with pytest.raises(RunError, match=r"stage 0 on core \d+ failed in start: the process was ended by SIGKILL"):
        WorkerPool(usable[:1])


@pytest.mark.usefixtures("struck_at")
def test_a_process_that_dies_before_a_run_is_named(usable: tuple[int, ...]) -> None:
    captured = failing("raise never", 0)
    with running(captured, [usable[0]] * 3) as (pool, execution):
        os.kill(pool.pids[2], signal.SIGKILL)
        with pytest.raises(RunError, match=r"stage 2.* on core \d+ failed in .*SIGKILL"):
            execution.run(plan_of(captured, BOUNDS, stages=3), MINIBATCHES)


@pytest.mark.usefixtures("struck_at")
def test_a_process_that_is_stopped_before_a_run_is_declared_hung(usable: tuple[int, ...]) -> None:
    captured = failing("raise never", 0)
    with running(captured, [usable[0]] * 3, stall_timeout_s=2.0) as (pool, execution):
        plan = plan_of(captured, BOUNDS, stages=3)

        def run() -> None:
            with execution.loaded(plan, MINIBATCHES) as loaded:
                os.kill(pool.pids[1], signal.SIGSTOP)
                loaded.run_loaded()

        with pytest.raises(RunError, match=r"stage 1 .*SIGSTOP"):
            run()


@pytest.mark.usefixtures("struck_at")
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("raising", "raised OSError at minibatch 1: the disk is gone"),
        ("dataset", "end after 3 of 7 minibatches; give fewer --batches"),
    ],
)
def test_data_that_fail_in_mid_run_are_told_as_bad_input(usable: tuple[int, ...], data: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(failing("raise never", 0), usable, data=f"loaders:{data}")


@pytest.fixture
def command(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """A run as a user starts it; if nothing else is said, one that would go on for minutes."""
    name = getattr(request, "param", "small_models:slow_for_ever")
    config = configuration.override(configuration.for_model(name), {"sample_shape": SHAPE[1:], "batch_size": SHAPE[0]})
    captured = captured_model(config)
    plan = replace(plan_of(captured, BOUNDS, stages=3), model=name, vocabulary=0)
    (tmp_path / "plan.json").write_bytes(to_json(plan))
    return [sys.executable, "-m", "runtime", "run", "--plan", str(tmp_path / "plan.json"), "--batches", "1000"]


@contextmanager
def started(command: list[str], tmp_path: Path, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a session of its own, as in a terminal; whatever of it is left at the end, ends."""
    environment = os.environ | {"PYTHONPATH": str(HELPERS), "TMPDIR": str(tmp_path)}
    environment |= {"STRUCK_AT": str(tmp_path / "struck"), TORCHS_OWN: str(tmp_path / "torch")}
    before = shared_memory()
    with subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True, **streams) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert shared_memory() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"plan.json", "struck", "torch"}


def stages_of(process: subprocess.Popen[bytes], mark: Path | None) -> list[psutil.Process]:
    """The stages' processes, as soon as all are there, or as soon as one has been struck."""
    while process.poll() is None:
        with suppress(psutil.Error):
            found = forked(psutil.Process(process.pid))
            if len(found) == 3 and (mark is None or mark.exists()):
                return found
        time.sleep(0.02)
    raise AssertionError(process.returncode)


def assert_gone(processes: list[psutil.Process], within_s: float = 20.0) -> None:
    """Soon, and on a busy machine in the end; what is said in time is another matter."""
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    assert not [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("command", ["small_models:fails_forward"], indirect=True)
def test_the_command_tells_the_first_at_fault_then_what_followed_and_exits_with_1(
    command: list[str], tmp_path: Path
) -> None:
    with started(command, tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        printed, said = process.communicate(timeout=60)
    lines = [line for line in said.decode().splitlines() if line.startswith(("error: ", "note: "))]
    assert process.returncode == 1
    assert not printed
    assert lines[0].startswith("error: stage 1 (fault … relu) on core ")
    assert lines[0].endswith("failed in forward of minibatch 2: ValueError: on purpose")
    assert all(line.startswith("note: a consequence: stage ") for line in lines[1:-1])
    assert re.fullmatch(r"note: stage 1 \(fault … relu\) on core \d+ was here:", lines[-1])
    assert "small_models.py" in said.decode()


@pytest.mark.parametrize("stopped", ["stage", "parent"])
def test_stages_end_with_a_parent_that_is_killed(command: list[str], tmp_path: Path, stopped: str) -> None:
    with started(command, tmp_path, stderr=subprocess.PIPE) as process:
        stages = stages_of(process, tmp_path / "struck")
        (source,) = servers(psutil.Process(process.pid))
        {"stage": stages[1], "parent": psutil.Process(process.pid)}[stopped].suspend()
        process.kill()
        assert_gone([*stages, source])


@pytest.mark.parametrize(
    ("number", "presses", "running"),
    [(signal.SIGINT, 1, True), (signal.SIGINT, 2, False), (signal.SIGTERM, 1, True)],
)
def test_ctrl_c_and_sigterm_end_everything(
    command: list[str],
    tmp_path: Path,
    number: int,
    presses: int,
    running: bool,  # noqa: FBT001
) -> None:
    with started(command, tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        stages = stages_of(process, tmp_path / "struck" if running else None)
        for _ in range(presses):
            os.killpg(process.pid, number)
            time.sleep(0.05)
        _, said = process.communicate(timeout=10)
        assert process.returncode == 128 + number
        assert said.decode().splitlines()[-1] == "interrupted; nothing is left running"
        assert "Traceback" not in said.decode(), said.decode()
        assert_gone(stages)


def test_the_terminal_has_its_cursor_back(command: list[str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    said = b""
    with started(command, tmp_path, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        while b"samples/s" not in said:
            said += os.read(ours, 4096)
        os.killpg(process.pid, signal.SIGINT)
        with suppress(OSError):  # the terminal is closed
            while more := os.read(ours, 4096):
                said += more
        process.wait(timeout=10)
    os.close(ours)
    assert "stage" in said.decode()
    assert said.rindex(b"\x1b[?25h") > said.rindex(b"\x1b[?25l"), "shown after it was hidden"
