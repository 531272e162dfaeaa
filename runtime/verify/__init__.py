"""Hold what a pipeline trained against a replay in one process, bit for bit."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.verify.bit_identity import verify
else:
    __getattr__ = on_demand(__name__)
