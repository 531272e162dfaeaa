"""Plans by name: the best split, the schemes."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.planning.even_cuts import even_share_s, even_slicing
    from optimizer.planning.models import (
        Models,
        ProfileOf,
        cut_named,
        model_request,
        models_of,
        names_layers,
    )
    from optimizer.planning.partitions import plan_for, plans_for
    from optimizer.planning.planner import Planner, link_of
    from optimizer.planning.schemes import (
        ALL,
        LOWERED,
        OPTIMIZED,
        SLICED,
        Schemes,
        load_schemes,
        partition_names,
        partition_of,
        refuse_limits,
        scheme_cuts,
    )
else:
    __getattr__ = on_demand(__name__)
