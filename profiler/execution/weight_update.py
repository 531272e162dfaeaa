"""The update rules: each writes the next version of a weight beside the current one.

SGD, as in torch.optim.SGD (dampening 0):

    g ← min( 1, n ÷ (‖g of all weights‖ + 10⁻⁶) )·g        with a bounded norm, for every rule
    g ← min( max( g, −c ), c )        with clipping, for every rule
    g ← g + λ·w                       with weight decay
    m ← g + μ·m                       in place, with momentum
    w' ← w − η·m,  or  w − η·(g + μ·m) with Nesterov's momentum, or  w − η·g  without any

Adam and AdamW, as in torch.optim, for the t-th update of a weight:

    g ← g + λ·w (Adam)  or  w ← (1 − η·λ)·w (AdamW)
    m ← m + (1 − β₁)(g − m),   v ← β₂·v + (1 − β₂)·g²                    in place
    w' ← w − η/(1 − β₁ᵗ) · m ÷ (√v ÷ √(1 − β₂ᵗ) + ε)

w' goes into the next version's buffer, which serves as scratch until then. Writing beside costs about as much as
torch's fused rule does in place, so keeping versions is nearly free; the profiler times these very calls.

Sources: Kingma and Ba, "Adam", ICLR 2015; Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from profiler.settings import UpdateRule

PIECE = 1 << 18
"""Elements of a weight that are worked on at a time, so that they stay in the cache from pass to pass."""


@dataclass(slots=True)
class Moments:
    """What a rule remembers of one weight from update to update.

    Attributes:
        tensors: As many as the rule has momenta, like the weight.
        count: How many updates the weight has had.
    """

    tensors: tuple[Tensor, ...]
    count: int = 0

    @classmethod
    def before_any(cls, rule: UpdateRule, weight: Tensor) -> "Moments":
        """Return those of a weight that has had no update."""
        return cls(tuple(torch.zeros_like(weight) for _ in range(rule.momenta)))


def norm_scale(norms: Sequence[Tensor], bound: float) -> Tensor:
    """Return what torch's clip_grad_norm_ multiplies every gradient by, bit for bit.

    Args:
        norms: The norm of each gradient, in the order of the model's parameters.
        bound: The largest norm that all of them together may have.
    """
    total = torch.linalg.vector_norm(torch.stack(list(norms))) if norms else torch.zeros(())
    return torch.clamp(bound / (total + 1e-6), max=1.0)


def pieces(weight: Tensor, gradient: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield a weight, its gradient and dense tensors that lie as the weight does, piece by piece; small ones whole."""
    if gradient.stride() != weight.stride():
        gradient = torch.empty_like(weight).copy_(gradient)
    tensors = (weight, gradient, *others)
    if weight.numel() <= PIECE:
        yield tensors
    else:
        yield from zip(*(torch.split(_flat(tensor), PIECE) for tensor in tensors), strict=True)


def _flat(tensor: Tensor) -> Tensor:
    """Return a view of a dense tensor's elements as they lie."""
    return tensor.view(-1) if tensor.is_contiguous() else tensor.as_strided((tensor.numel(),), (1,))


def write_next(
    rule: UpdateRule,
    weight: Tensor,
    gradient: Tensor | None,
    moments: Moments,
    *,
    out: Tensor,
    cast: Tensor | None = None,
) -> None:
    """Write the next version of ``weight`` to ``out``, which may be ``weight`` itself.

    A weight without a gradient stays as it is, and so do its moments, as in torch.optim.

    Args:
        rule: The update rule.
        weight: The current version.
        gradient: Its gradient, in whichever type, or None where the loss does not depend on it; it is only read.
        moments: Changed in place.
        out: Buffer of the next version.
        cast: Buffer of its cast to another type, if it has one, which is written while a piece is in the cache.
    """
    if gradient is None:
        if out is not weight:
            out.copy_(weight)
        return
    moments.count += 1
    if cast is None:
        _write(rule, weight, gradient, moments.tensors, count=moments.count, out=out)
        return
    for old, slope, new, lower, *own in pieces(weight, gradient, out, cast, *moments.tensors):
        _write(rule, old, slope, own, count=moments.count, out=old if out is weight else new)
        lower.copy_(new)


def _write(
    rule: UpdateRule, weight: Tensor, gradient: Tensor, moments: Sequence[Tensor], *, count: int, out: Tensor
) -> None:
    gradient = gradient.to(weight.dtype)
    if rule.clip:
        gradient = gradient.clamp(-rule.clip, rule.clip)  # of a gradient that may be another weight's, too
    scratch = out
    if out is weight and (rule.weight_decay or rule.nesterov or rule.name != "sgd"):
        scratch = torch.empty_like(weight)
    if rule.weight_decay and rule.name != "adamw":
        # A gradient may share its storage with another weight's, so it is never changed.
        gradient = torch.add(gradient, weight, alpha=rule.weight_decay, out=scratch)
    _WRITERS[rule.name](rule, weight, gradient, moments, count=count, scratch=scratch, out=out)


def _sgd(
    rule: UpdateRule,
    weight: Tensor,
    gradient: Tensor,
    moments: Sequence[Tensor],
    *,
    count: int,  # noqa: ARG001 - every update is alike
    scratch: Tensor,
    out: Tensor,
) -> None:
    step = gradient
    for momentum in moments:
        step = torch.add(gradient, momentum, alpha=rule.momentum, out=momentum)
        if rule.nesterov:
            step = torch.add(gradient, momentum, alpha=rule.momentum, out=scratch)
    torch.add(weight, step, alpha=-rule.lr, out=out)


def _adam(
    rule: UpdateRule,
    weight: Tensor,
    gradient: Tensor,
    moments: Sequence[Tensor],
    *,
    count: int,
    scratch: Tensor,
    out: Tensor,
) -> None:
    mean, square = moments
    beta_mean, beta_square = rule.betas
    mean.lerp_(gradient, 1 - beta_mean)
    square.mul_(beta_square).addcmul_(gradient, gradient, value=1 - beta_square)
    torch.sqrt(square, out=scratch)
    scratch.div_((1 - beta_square**count) ** 0.5).add_(rule.eps)
    step_size = rule.lr / (1 - beta_mean**count)
    if rule.name == "adamw" and rule.weight_decay:
        # w·(1 − ηλ) − s·m/d with the denominator d in the scratch that may be out: the quotient first.
        torch.div(mean, scratch, out=scratch).mul_(-step_size)
        torch.add(scratch, weight, alpha=1 - rule.lr * rule.weight_decay, out=out)
    else:
        torch.addcdiv(weight, mean, scratch, value=-step_size, out=out)


_WRITERS = {"sgd": _sgd, "adam": _adam, "adamw": _adam}
