"""Hold what a pipeline trained against a replay in one process, bit for bit, and against the uncut model."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.verify.bit_identity import verify
    from runtime.verify.uncut import Uncut
else:
    __getattr__ = on_demand(__name__)
