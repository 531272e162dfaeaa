"""Autocast: layers in bfloat16 as torch runs them, and for how long the casts of weights are kept.

torch casts a weight when the first layer asks for it, and keeps the cast until the outermost autocast ends. A process
that trains keeps casts from one minibatch to the next, as long as the weights are the same version; so a version is
cast once however many minibatches run on it.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

LOWER = torch.bfloat16


def autocasting() -> AbstractContextManager[Any]:
    """Return the context in which torch runs in bfloat16 what it holds to be safe in it."""
    return torch.autocast("cpu", LOWER)


def keeping_casts() -> AbstractContextManager[Any]:
    """Return a context that switches nothing on, and in which casts of weights are kept until ``forget_casts``."""
    return torch.autocast("cpu", LOWER, enabled=False)


def forget_casts() -> None:
    """Drop the casts of weights that are kept: those in use stay where the backward holds them."""
    torch.clear_autocast_cache()


def in_float32(value: Any) -> Any:
    """Return a tensor of bfloat16 in float32, and anything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.dtype == LOWER else value
