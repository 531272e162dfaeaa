"""The code that runs inside a stage's process."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.worker.data import POOL, DataSpec, synthetic_inputs, synthetic_targets
    from runtime.worker.digest import digest_of_all, digest_of_state
    from runtime.worker.messages import (
        Checksums,
        Common,
        CutEnd,
        Export,
        Go,
        Load,
        Report,
        Share,
        Unload,
        receive,
        send,
    )
    from runtime.worker.settings import Settings
    from runtime.worker.stage_process import serve
    from runtime.worker.status import Phase, Progress, StageStatus
else:
    __getattr__ = on_demand(__name__)
