"""Plans by name: the best split, the schemes, other planners."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from optimizer.planning.evenly_spaced import spaced_splits
    from optimizer.planning.forms import Blocks, Forms, MeasureBlocks, forms_of
    from optimizer.planning.naming import (
        ALL,
        LOWERED,
        OPTIMIZED,
        OTHER_PLANNERS,
        SLICED,
        partition_names,
        partition_of,
        refuse_limits,
    )
    from optimizer.planning.partitions import plan_for, plans_for
    from optimizer.planning.planner import Planner
    from optimizer.planning.precision_choice import PrecisionChoice, choose_precision, why_full
    from optimizer.planning.schemes import Schemes, load_schemes, scheme_cuts
    from optimizer.planning.slicing_choice import (
        LEAST_GAIN,
        SlicingChoice,
        choose_slicing,
        even_share_s,
        measured,
        why_whole,
    )
    from optimizer.planning.wanted_form import NONE, FormRequest, cut_named, form_request, names_layers, slicing_named
else:
    __getattr__ = on_demand(__name__)
