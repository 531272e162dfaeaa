"""A plan as a program for another engine."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.export.torch_pipelining import MICRO_BATCHES, module_names, pipelining_script
else:
    __getattr__ = on_demand(__name__)
