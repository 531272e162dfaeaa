from dataclasses import replace

from strategies import MACHINE

from profiler.machine import differences, this_machine


def test_this_machine_is_described_and_is_the_same_each_time() -> None:
    found = this_machine()
    assert found == this_machine()
    assert found.cpu
    assert found.logical_cores >= found.physical_cores >= 1
    assert found.memory_bytes > 1 << 28
    assert "malloc" in found.allocator


def test_differences_name_what_differs_and_both_values() -> None:
    assert differences(MACHINE, MACHINE) == []
    other = replace(MACHINE, cpu="else", physical_cores=8)
    assert differences(MACHINE, other) == ["cpu test there, else here", "physical cores 4 there, 8 here"]
