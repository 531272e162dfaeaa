"""Fixtures that several test files share."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from profiler.machine import pinned
from runtime.supervisor import WorkerPool


@pytest.fixture(scope="session")
def usable() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))


@pytest.fixture(scope="session")
def workers(usable: tuple[int, ...]) -> Iterator[Callable[[int], WorkerPool]]:
    """Pools by their number of processes, each started when it is first wanted, and anew after a failure."""
    pools: dict[int, WorkerPool] = {}

    def pool(count: int) -> WorkerPool:
        if count not in pools or not len(pools[count]):
            pools[count] = WorkerPool([usable[rank % len(usable)] for rank in range(count)])
        return pools[count]

    yield pool
    for one in pools.values():
        one.close()


@pytest.fixture
def four_workers(workers: Callable[[int], WorkerPool]) -> WorkerPool:
    return workers(4)


@pytest.fixture
def pinned_process(usable: tuple[int, ...]) -> Iterator[None]:
    """The settings that stages run under, so that results can be compared bit for bit."""
    with pinned(usable[0]):
        yield


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, so that profiles and results stay out of the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
