import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from places import CHECKOUT
from strategies import MACHINE

from profiler.machine import affinity_variables, differences, this_machine
from profiler.machine.machine import BINDING, SETTINGS, settings_at_start


def test_this_machine_is_described_and_is_the_same_each_time() -> None:
    found = this_machine()
    assert found == this_machine()
    assert found.cpu
    assert found.logical_cores >= found.physical_cores >= 1
    assert found.memory_bytes > 1 << 28
    assert "malloc" in found.allocator


def machine_of_a_process(code: str = "", **variables: str) -> str:
    """Return the settings that a fresh Python process with these variables sees after it has run ``code``."""
    told = "from profiler.machine import this_machine; print(this_machine().environment)"
    plain = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-c", f"import os\n{code}\n{told}"]
    return subprocess.run(
        command, env=plain | variables, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def test_an_environment_that_changes_speed_makes_another_machine() -> None:
    assert machine_of_a_process() == "()"
    assert machine_of_a_process(MALLOC_ARENA_MAX="1") == "('MALLOC_ARENA_MAX=1',)"
    here = this_machine()
    before = replace(here, environment=())
    (difference,) = differences(before, replace(here, environment=("MALLOC_ARENA_MAX=1",)))
    assert difference == "environment none there, MALLOC_ARENA_MAX=1 here"


def test_what_a_process_sets_itself_makes_no_other_machine() -> None:
    """A library has read its settings by then, or reads them when it is loaded, in every command alike."""
    assert machine_of_a_process("os.environ['MALLOC_ARENA_MAX'] = '1'") == "()"
    assert machine_of_a_process("del os.environ['MKL_CBWR']", MKL_CBWR="AVX2") == "('MKL_CBWR=AVX2',)"


@pytest.mark.parametrize(
    "name",
    ["KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "OMP_DISPLAY_ENV", "OMP_NUM_THREADS", "TORCH_HOME", "TORCH_LOGS",
     "TORCH_SHOW_CPP_STACKTRACES", "TORCH_CPP_LOG_LEVEL", "MKL_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_"],
)  # fmt: skip
def test_what_changes_no_times_makes_no_other_machine(name: str, tmp_path: Path) -> None:
    (tmp_path / "environ").write_bytes(f"{name}=1\0HOME=/\0GOMP_SPINCOUNT=a=b\0".encode())
    assert settings_at_start(tmp_path / "environ") == ("GOMP_SPINCOUNT=a=b",)


def test_where_the_kernel_keeps_the_environment_to_itself_the_present_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    assert "MKL_CBWR=AVX2" in settings_at_start(tmp_path / "none")


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
