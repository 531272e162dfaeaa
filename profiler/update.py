"""The update rule: SGD with momentum that writes the next version of a weight beside the current one.

    m ← g + μ·m        in place
    w' ← w − η·m       out of place, into the next version's buffer

as in torch.optim.SGD (dampening 0, no Nesterov). Writing out of place costs no more than writing in place, so keeping
versions is free; the profiler times these very calls.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """Learning rate η and momentum μ."""

    lr: float
    momentum: float


def write_next(rule: UpdateRule, weight: Tensor, gradient: Tensor | None, momentum: Tensor | None, out: Tensor) -> None:
    """Write the next version of ``weight`` to ``out``, which may be ``weight`` itself.

    A weight without a gradient stays as it is, and so does its momentum, as in torch.optim.SGD.

    Args:
        rule: The update rule.
        weight: The current version.
        gradient: Its gradient, or None where the loss does not depend on it.
        momentum: Its running momentum, changed in place; None where the rule has none.
        out: Buffer of the next version.
    """
    if gradient is None:
        if out is not weight:
            out.copy_(weight)
        return
    step = gradient if momentum is None else torch.add(gradient, momentum, alpha=rule.momentum, out=momentum)
    torch.add(weight, step, alpha=-rule.lr, out=out)
