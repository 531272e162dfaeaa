"""Say what bounds a layer: the core's arithmetic, or its memory.

A layer of intensity i = operations ÷ bytes touched can do at most min(peak operations/s, i × peak bytes/s); the two
meet at the ridge. A layer right of it is compute-bound, left of it memory-bound. Bytes are counted as if no cache
helped, so a layer whose data stay in a cache may lie above the slanted roof.

Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
"""

from typing import Literal

from profiler.profile.layers import Layer, Peaks

Bound = Literal["compute", "memory", ""]


def operations(layer: Layer) -> int:
    """Return the floating-point operations of forward and backward."""
    return layer.flops + layer.backward_flops


def touched_bytes(layer: Layer) -> int:
    """Return the bytes that forward and backward touch."""
    return layer.touched_bytes + layer.backward_touched_bytes


def compute_s(layer: Layer) -> float:
    """Return forward + backward."""
    return layer.forward_s + layer.backward_s


def intensity(layer: Layer) -> float:
    """Return operations per byte; 0 for a layer that touches nothing, such as a view."""
    return operations(layer) / touched_bytes(layer) if touched_bytes(layer) else 0.0


def ridge(peaks: Peaks) -> float:
    """Return the intensity from which on a layer is compute-bound, in operations per byte."""
    return peaks.flops_per_s / peaks.bytes_per_s


def of_roof(layer: Layer, peaks: Peaks | None) -> float:
    """Return what a layer achieves as a share of what it could at most; 0 where that cannot be said."""
    if peaks is None or not operations(layer) or not touched_bytes(layer) or not compute_s(layer):
        return 0.0
    roof = min(peaks.flops_per_s, intensity(layer) * peaks.bytes_per_s)
    return operations(layer) / compute_s(layer) / roof


def bound(layer: Layer, peaks: Peaks | None) -> Bound:
    """Return what bounds a layer; nothing for one that touches no bytes, or where no peaks are known."""
    if peaks is None or not touched_bytes(layer):
        return ""
    return "compute" if intensity(layer) >= ridge(peaks) else "memory"
