"""The forms that a captured model can have: layers cut inside, layers in bfloat16, weights lent from layer to layer."""

from typing import TYPE_CHECKING

from profiler.public import on_demand

if TYPE_CHECKING:
    from profiler.capture.forms.lend_weights import with_lent_weights
    from profiler.capture.forms.lower_model import lowered_model
    from profiler.capture.forms.slice_model import sliceable, sliced_model
else:
    __getattr__ = on_demand(__name__)
