"""Start the stages' processes, watch them, and end them whatever happens."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.supervisor.failures import Watch
    from runtime.supervisor.pool import WorkerPool
else:
    __getattr__ = on_demand(__name__)
