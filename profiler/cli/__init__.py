"""The command line of the profiler, and what all command lines share."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.cli.command import execute
    from profiler.cli.console import (
        Screen,
        emit_json,
        live_console,
        note,
        note_anyway,
        on_screen,
        progress,
        screen,
        stdout,
    )
    from profiler.cli.declare import Options, add_options, argument, duration, option, positive, size, switch
    from profiler.cli.options import CommonOptions, configs, fresh_profile, settled_precision
    from profiler.cli.parser import Parser
else:
    __getattr__ = on_demand(__name__)
