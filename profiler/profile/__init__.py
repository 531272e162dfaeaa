"""The profile as data: what it holds, how it is read, and what follows from it alone."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.profile.lowered_profile import cast_bytes, in_precision, profile_in_form
    from profiler.profile.pipedream_graph import UNKNOWN
    from profiler.profile.precision import (
        AUTO,
        BF16,
        FP32,
        Form,
        PrecisionName,
        float32_layers,
        precision_text,
        precision_words,
    )
    from profiler.profile.profile import (
        INPUT,
        Bytes,
        CopyCost,
        Count,
        Edge,
        Layer,
        Loaded,
        Loss,
        Lowered,
        Machine,
        Name,
        Peaks,
        Profile,
        Seconds,
        Shape,
        SlicedLayer,
        Tie,
        Timing,
        parts_s,
    )
    from profiler.profile.read import read_profile
    from profiler.profile.roofline import bound, compute_s, intensity, of_roof, operations, ridge, touched_bytes
    from profiler.profile.slice_profile import (
        Pieces,
        cut_edges,
        lengths_in,
        lengths_of,
        parse_slicing,
        part_names,
        sliced_profile,
        slicing_text,
        whole_layers,
    )
    from profiler.profile.warnings import MOST_ROUNDS, more_or_less, profile_warnings
else:
    __getattr__ = on_demand(__name__)
