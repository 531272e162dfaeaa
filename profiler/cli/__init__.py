"""The command line of the profiler, and what all command lines share."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.cli.command import execute
    from profiler.cli.console import emit_json, keeping_quiet, live_console, note, note_anyway, progress, quiet, stdout
    from profiler.cli.declare import Parser, add_options, duration, option, positive, size, switch
    from profiler.cli.options import CommonOptions, configs, settled_precision
    from profiler.cli.profile_cache import fresh_profile, path_for
else:
    __getattr__ = on_demand(__name__)
