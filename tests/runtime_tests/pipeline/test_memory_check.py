from dataclasses import replace
from pathlib import Path

import pytest
from strategies import chain

from optimizer.plan import Plan
from optimizer.planning import Planner
from optimizer.schedule import requirements_of, schedule_of
from runtime.errors import InputError
from runtime.pipeline.memory_check import available_bytes, refuse_too_little_memory

MIB = 1 << 20
NEEDS = requirements_of(schedule_of("1f1b", 2, 8))
STAGES = range(2)


@pytest.fixture
def plan() -> Plan:
    found = Planner(chain([1, 1, 1, 1]), 2, 8).optimized()
    return replace(found, stages=tuple(replace(stage, memory_bytes=300 * MIB) for stage in found.stages))


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


def test_too_little_memory_is_refused_with_the_numbers_and_the_remedy(plan: Plan) -> None:
    refuse_too_little_memory(plan, NEEDS, "shm", 600 * MIB, "the machine", stages=STAGES)
    with pytest.raises(InputError) as caught:
        refuse_too_little_memory(plan, NEEDS, "shm", 200 * MIB, "its control group (cgroup)", stages=STAGES)
    said = str(caught.value)
    assert "2 stages" in said
    assert "300 + 300" in said
    assert "its control group (cgroup) has 200 MiB free" in said
    assert "smaller --batch-size, or --schedule 1f1b-flush" in said
    with pytest.raises(InputError) as caught:
        refuse_too_little_memory(
            replace(plan, schedule="1f1b-flush", update_every=4),
            NEEDS,
            "gloo",
            0,
            "the machine",
            stages=STAGES,
        )
    assert "1f1b-flush" not in str(caught.value), "which it is already"
