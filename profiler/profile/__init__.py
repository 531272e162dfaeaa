"""The profile as data: what it holds, how it is read, and what follows from it alone."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.profile.form import (
        AUTO,
        BF16,
        BF16_FORM,
        FP32,
        NONE,
        PLAIN_FORM,
        Form,
        Pieces,
        Precision,
        PrecisionName,
        Slicing,
        form_named,
        pieces_of,
        slicing_named,
        slicing_of,
        typed_for,
    )
    from profiler.profile.layers import (
        INPUT,
        Bytes,
        CopyCost,
        Count,
        Edge,
        Layer,
        Loss,
        Machine,
        Name,
        Seconds,
        Shape,
        parts_s,
    )
    from profiler.profile.profile import MOST_ROUNDS, Profile, profile_warnings
else:
    __getattr__ = on_demand(__name__)
