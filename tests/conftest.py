"""Fixtures that several test files share."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from profiler.process import settled
from runtime.pool import WorkerPool


@pytest.fixture(scope="session")
def usable() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))


@pytest.fixture(scope="session")
def four_workers(usable: tuple[int, ...]) -> Iterator[WorkerPool]:
    with WorkerPool([usable[stage % len(usable)] for stage in range(4)]) as pool:
        yield pool


@pytest.fixture
def settled_process(usable: tuple[int, ...]) -> Iterator[None]:
    """The settings that stages run under, so that results can be compared bit for bit."""
    with settled(usable[0]):
        yield


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, so that profiles and results stay out of the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
