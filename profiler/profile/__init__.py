"""The profile as data: what it holds, how it is read, and what follows from it alone."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.profile.form import (
        AUTO,
        BF16,
        BF16_FORM,
        FP32,
        PLAIN_FORM,
        Form,
        Pieces,
        Precision,
        PrecisionName,
        Slicing,
        lengths_of,
    )
    from profiler.profile.layers import (
        INPUT,
        Bytes,
        CopyCost,
        Count,
        Edge,
        Layer,
        Loss,
        Lowered,
        Machine,
        Name,
        Seconds,
        Shape,
        SlicedLayer,
        Tie,
        Timing,
        parts_s,
    )
    from profiler.profile.profile import ModelCosts, Profile, cast_bytes
    from profiler.profile.sliced_graph import cut_edges, part_names
    from profiler.profile.warnings import MOST_ROUNDS, UNCERTAINTY_LIMIT, more_or_less, profile_warnings
else:
    __getattr__ = on_demand(__name__)
