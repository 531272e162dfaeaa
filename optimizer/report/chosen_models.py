"""Say which model was planned for, what that gains, and why not another."""

from collections.abc import Iterable

from optimizer.planning import LOWERED, SLICED, Models, Planner, why_full, why_whole
from profiler.profile import BF16, FP32


def model_sentences(models: Models, names: Iterable[str] = (LOWERED,)) -> tuple[list[str], list[str]]:
    """Return what was chosen of precision and slices, and why nothing was chosen.

    These are sentences without a full stop.

    Args:
        models: What plans.
        names: The partitions that are wanted; without ``sliced``, nothing is said of what is cut in float32 where
            another precision is faster.
    """
    gains: list[str] = []
    reasons: list[str] = []
    full = models.sliced or models.whole
    if models.lowered:
        gains.append(f"all layers run in {BF16}: {_gain(full, models.lowered, f'than in {FP32}')}")
        if models.lowered.profile.slicing:
            gains.append(f"cut inside: {_blocks(models.lowered)}")
    elif models.why_full:
        reasons.append(why_full(models.why_full))
    if models.sliced and (not models.lowered or SLICED in names):
        gains.append(f"cut inside: {_blocks(models.sliced)}; {_gain(models.whole, models.sliced, 'than whole')}")
    elif models.why_whole and not models.lowered:
        reasons.append(why_whole(models.why_whole))
    return gains, reasons


def _blocks(planner: Planner) -> str:
    return " and ".join(
        f"{layer} into {pieces[0] if len(pieces) == 1 else len(pieces)} blocks"
        for layer, pieces in planner.profile.slicing.pieces.items()
    )


def _gain(slow: Planner, fast: Planner, than: str) -> str:
    """Say by how much the slowest stage is faster."""
    if slow.expected_s is None or fast.expected_s is None:
        return "without that no split keeps the limits"
    share = slow.expected_s / fast.expected_s - 1
    return f"the slowest stage is {abs(share):.0%} {'slower' if share < 0 else 'faster'} {than}"
