from dataclasses import replace

import pytest
from paces import plain
from strategies import chain

from optimizer.plan import Plan
from optimizer.planning import Planner
from optimizer.schedule import requirements_of
from profiler.commands import MODULES, typed_as
from runtime.errors import InputError
from runtime.pipeline.stage_segments import refuse_too_little_memory

MIB = 1 << 20
NEEDS = requirements_of(plain(2, 8))
STAGES = range(2)


@pytest.fixture
def plan() -> Plan:
    found = Planner(chain([1, 1, 1, 1]), 2, 8).optimized()
    return replace(found, stages=tuple(replace(stage, memory_bytes=300 * MIB) for stage in found.stages))


def test_too_little_memory_is_refused_with_the_numbers_and_the_remedy(plan: Plan) -> None:
    refuse_too_little_memory(plan, NEEDS, "shm", 600 * MIB, "the machine", stages=STAGES)
    with typed_as(MODULES), pytest.raises(InputError) as caught:
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
