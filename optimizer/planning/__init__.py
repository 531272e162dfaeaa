"""Plans by name: the best split, the schemes, other planners."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.planning.evenly_spaced import spaced_splits
    from optimizer.planning.partitions import (
        ALL,
        LOWERED,
        OPTIMIZED,
        OTHER_PLANNERS,
        SLICED,
        distinct,
        partition_names,
        plan_for,
        plans_for,
    )
    from optimizer.planning.planner import Planner, digest_of
    from optimizer.planning.precision_choice import PrecisionChoice, choose_precision, pays
    from optimizer.planning.schemes import Schemes, load_schemes
    from optimizer.planning.slicing_choice import (
        Bottleneck,
        Measure,
        choose_slicing,
        even_share_s,
        measured,
        slicing_sentence,
    )
else:
    __getattr__ = on_demand(__name__)
