"""Fixtures that several test files share."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings

import __main__

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: threads that tests beside each other share spin

from profiler.machine import pinned
from profiler.machine.interrupts import SIGNALS
from runtime.supervisor import WorkerPool

os.environ["COLUMNS"] = "240"
"""Most tests look for words in a table, which a narrow terminal folds; ``test_narrow_terminals`` looks at 80."""
settings.register_profile("tests", deadline=None)  # a machine that is busy is no fault
settings.load_profile("tests")
settings.register_profile("fuzz", max_examples=2500, print_blob=True)
"""Of ``make fuzz``, for each kind of file."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a job of the background; what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Processes that tests start would import pytest again, as the main module of their parent, and need nothing of it.
__main__.__spec__ = None
if hasattr(__main__, "__file__"):
    del __main__.__file__


@pytest.fixture(autouse=True)
def _signals_of_before() -> Iterator[None]:
    """A command that was told to end ignores signals from then on, and its process would: here it goes on.

    What a later test starts would inherit it.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], psutil.Process]]:
    """Fork from a server of this test's own, which it may strike: those of other tests are forked from a common one."""
    own: Any = forkserver.ForkServer()
    monkeypatch.setattr(forkserver, "_forkserver", own)
    for name in ("ensure_running", "get_inherited_fds", "connect_to_new_process", "set_forkserver_preload"):
        monkeypatch.setattr(forkserver, name, getattr(own, name))
    yield lambda: psutil.Process(own._forkserver_pid)
    if own._forkserver_pid is not None:
        os.close(own._forkserver_alive_fd)  # which ends it
        os.waitpid(own._forkserver_pid, 0)


@pytest.fixture(scope="session")
def usable() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))


@pytest.fixture(scope="session")
def pools() -> Iterator[Callable[[Sequence[int]], WorkerPool]]:
    """Pools by the cores of their processes, each started when it is first wanted, and anew after a failure."""
    started: dict[tuple[int, ...], WorkerPool] = {}

    def pool(cores: Sequence[int]) -> WorkerPool:
        key = tuple(cores)
        if key not in started or not len(started[key]):
            started[key] = WorkerPool(key)
        return started[key]

    yield pool
    for one in started.values():
        one.close()


@pytest.fixture(scope="session")
def workers(usable: tuple[int, ...], pools: Callable[[Sequence[int]], WorkerPool]) -> Callable[[int], WorkerPool]:
    """These pools by their number of processes."""
    return lambda count: pools([usable[rank % len(usable)] for rank in range(count)])


@pytest.fixture
def four_workers(workers: Callable[[int], WorkerPool]) -> WorkerPool:
    return workers(4)


@pytest.fixture
def kept_workers(pools: Callable[[Sequence[int]], WorkerPool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pipelines and commands share the pools, whose processes take two seconds to start."""

    def shared(cores: Sequence[int], **options: Any) -> AbstractContextManager[WorkerPool]:
        return nullcontext(pools(cores)) if not any(options.values()) else WorkerPool(cores, **options)

    monkeypatch.setattr("runtime.pipeline.start.WorkerPool", shared)


@pytest.fixture
def pinned_process(usable: tuple[int, ...]) -> Iterator[None]:
    """The settings that stages run under, so that results can be compared bit for bit; any thread may capture."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("profiler.machine.pinning.only_thread", nullcontext)
            stack.enter_context(pinned(usable[0]))
        yield


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, so that profiles and results stay out of the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
