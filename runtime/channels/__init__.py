"""Move tensors between the processes of a pipeline."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.channels.channel import Channel, Cut, Direction, Rendezvous
    from runtime.channels.gloo import (
        CommonNorm,
        gloo_channel,
        join,
        listening_store,
        open_store,
        rendezvous_of,
    )
    from runtime.channels.memory_segment import SharedMemory
    from runtime.channels.shm_channel import channel_bytes, notification_sockets, shared_memory_channel
else:
    __getattr__ = on_demand(__name__)
