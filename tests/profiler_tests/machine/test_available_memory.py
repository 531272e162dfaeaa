import subprocess
import sys
from pathlib import Path

import pytest
from places import CHECKOUT

from profiler.machine import available_bytes

MIB = 1 << 20


def group(folder: Path, limit: str, usage: int, droppable: int, *, version: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {droppable}\n")


@pytest.mark.parametrize("version", [1, 2])
def test_the_tightest_group_above_this_process_counts(tmp_path: Path, version: int) -> None:
    top = tmp_path / "memory" if version == 1 else tmp_path
    own = tmp_path / "own"
    own.write_text("1:cpu:/elsewhere\n9:memory:/a/b\n" if version == 1 else "0::/a/b\n")
    group(top / "a" / "b", "max" if version == 2 else str(1 << 62), 9 * MIB, 0, version=version)
    group(top / "a", str(10 * MIB), 7 * MIB, 2 * MIB, version=version)
    free, whose = available_bytes(tmp_path, own)
    assert free == 5 * MIB, "limit − usage + files' pages that can be dropped"
    assert "cgroup" in whose


def test_without_a_group_the_machine_counts(tmp_path: Path) -> None:
    free, whose = available_bytes(tmp_path, tmp_path / "none")
    assert free > 0
    assert whose == "the machine"


def test_a_group_that_is_over_its_limit_has_nothing_free(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/\n")
    group(tmp_path, str(MIB), 2 * MIB, 0, version=2)
    assert available_bytes(tmp_path, tmp_path / "own")[0] == 0


def test_a_limit_of_this_process_leaves_what_it_has_not_yet_taken() -> None:
    code = (
        "import resource, psutil\nfrom profiler.machine import free_to_this_process\nfree_to_this_process()\n"
        "limit = psutil.Process().memory_info().vms + (64 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "free, whose = free_to_this_process()\nassert 32 << 20 < free <= 64 << 20, free\n"
        "taken = bytearray(30 << 20)\nassert free_to_this_process()[0] <= free - len(taken)\nprint(whose)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.stdout == "this process (ulimit -v)\n", done.stderr
