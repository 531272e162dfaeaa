from dataclasses import replace

import pytest
from strategies import MACHINE

from profiler.machine import affinity_variables, differences, this_machine
from profiler.machine.machine import BINDING


def test_this_machine_is_described_and_is_the_same_each_time() -> None:
    found = this_machine()
    assert found == this_machine()
    assert found.cpu
    assert found.logical_cores >= found.physical_cores >= 1
    assert found.memory_bytes > 1 << 28
    assert "malloc" in found.allocator


def test_an_environment_that_changes_speed_makes_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = this_machine()
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    assert this_machine().environment == (*before.environment, "MALLOC_ARENA_MAX=1")
    (difference,) = differences(before, this_machine())
    assert difference.startswith("environment ")
    assert difference.endswith("MALLOC_ARENA_MAX=1 here")


def test_what_binds_threads_to_cores_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BINDING:
        monkeypatch.delenv(name, raising=False)
    assert affinity_variables() == ""
    monkeypatch.setenv("GOMP_CPU_AFFINITY", "0-1")
    assert "GOMP_CPU_AFFINITY=0-1" in affinity_variables()


def test_differences_name_what_differs_and_both_values() -> None:
    assert differences(MACHINE, MACHINE) == []
    other = replace(MACHINE, cpu="else", caches=("L2 1024K", "L3 8M"))
    assert differences(MACHINE, other) == ["cpu test there, else here", "caches L2 1024K there, L2 1024K, L3 8M here"]
