"""Say why a model is not planned for in another form."""

from optimizer.planning.precision_choice import PrecisionChoice
from optimizer.planning.slicing_choice import LEAST_GAIN, SlicingChoice
from profiler.profile import BF16, FP32


def why_whole(choice: SlicingChoice) -> str:
    """Return the reason why no layer is cut inside."""
    reasons = {
        "even already": "the split is even already",
        "none in the way": "no layer that can be cut is in the way of an even split",
        "not measured": f"what {', '.join(choice.unknown)} would cost in blocks is not known",
        "no gain": f"no slicing makes the slowest stage {LEAST_GAIN:.0%} faster",
    }
    return f"no layer is cut inside, for {reasons[choice.why_whole or 'no gain']}"


def why_full(choice: PrecisionChoice) -> str:
    """Return the reason why layers run in float32."""
    if not choice.measured:
        return f"layers run in {FP32}, for the profile says nothing of {BF16}"
    return f"layers run in {FP32}: no choice of layers in {BF16} makes the slowest stage {LEAST_GAIN:.0%} faster"
