"""The command line of the profiler, and what all command lines share."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.cli.arguments import duration, positive, size
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
        stderr,
        stdout,
    )
    from profiler.cli.declare import Options, add_options, argument, option, switch
    from profiler.cli.options import CommonOptions, configs, fresh_profile
    from profiler.cli.parser import Parser
    from profiler.cli.precision import settled_precision
else:
    __getattr__ = on_demand(__name__)
