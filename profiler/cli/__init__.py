"""The command line of the profiler, and what all command lines share."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.cli.console import emit_json, note, progress, stdout
    from profiler.cli.options import (
        STAGES,
        Parser,
        add_common,
        add_models,
        configs,
        duration,
        execute,
        fresh_profile,
        positive,
        size,
    )
else:
    __getattr__ = on_demand(__name__)
