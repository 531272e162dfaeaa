"""This machine, and processes on it that are set as timing and running need it."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.machine.blame import blaming, shortage
    from profiler.machine.child_processes import (
        GUARD,
        ORPHANED,
        ORPHANS,
        UNGUARDED,
        Helper,
        await_end,
        await_forkserver,
        expect_processes,
        helper,
        main_file,
        refuse_reimport,
        start,
        tie_to,
    )
    from profiler.machine.cores import neighbouring_cores, physical_core, usable_cores
    from profiler.machine.interrupts import draining, ending_in_order, pass_on, taking, uninterrupted
    from profiler.machine.machine import bfloat16_instructions, differences, this_machine
    from profiler.machine.memory import (
        PeakMemory,
        available_bytes,
        free_to_this_process,
        release_memory,
        return_memory_at_once,
    )
    from profiler.machine.pinning import only_thread, pin, pinned, use_torch_once
else:
    __getattr__ = on_demand(__name__)
