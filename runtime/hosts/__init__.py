"""Several hosts under torchrun as one run."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from runtime.hosts.agreement import agree, agree_on_plan, agree_on_weights
    from runtime.hosts.errand import Errand, exit_with
    from runtime.hosts.join import joined
    from runtime.hosts.ranks import Ranks
    from runtime.hosts.session import Session
    from runtime.hosts.torchrun import placement, written_since_launch
else:
    __getattr__ = on_demand(__name__)
