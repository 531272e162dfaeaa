"""The update of a weight whose gradients are stale: computed on a version that is τ updates older than the newest.

The gradient's momentum is remembered longer, and what the gradient would have done in the τ updates that it missed is
done at once. But for a bound, a gradient in total moves a weight as far as without staleness, so learning rates mean
what they mean in one process. SGD with momentum μ, for τ > 0:

    μ' = 1 − (1 − μ) ÷ (1 + τ)                        momentum remembers for 1 + τ times as long
    r = min( 1, (τ + k)(1 − μ') )                     the share that counts at once; k: 1 with Nesterov's, else 0
    g ← s·g,  s = min( 1, (κ ÷ τ)·‖w‖ ÷ ( η ÷ (1 − μ)·‖g‖ ) )
    m ← μ'·m + (1 − μ') ÷ (1 − μ) · g
    w' ← w − η·( (1 − r)·m + r ÷ (1 − μ) · g )

The bound s lets a gradient move a weight by no more than κ ÷ τ of its norm in all, and so the τ that are under way by
no more than κ, 15%: further away, they say nothing of where to go. It is the adaptive clipping of Brock et al.,
with the learning rate and the staleness in it. The root mean square of w counts as 0.01 at least, so that zeros can
move, and a block of a layer that is cut inside as a weight. Clipping and weight decay follow the bound. Where the
learning rate has risen since the last update, the momentum does not rise with it: μ'·m ÷ (η ÷ η_before). Steps of
Adam and AdamW are bounded by their second moment, which a gradient much larger than those before raises at once:

    β' = 1 − (1 − β₁) ÷ √(1 + τ),   r = min( 1, 3/2·τ(1 − β') )
    m ← m + (1 − β')(g − m)
    v ← max( β₂·v + (1 − β₂)·g², min( 1, 0.03τ )·g² )
    w' ← w − η·( (1 − r)·m ÷ (1 − β'ᵗ) + r·g ) ÷ ( √(v ÷ (1 − β₂ᵗ)) + ε )

v's bias is taken off as if it were a mean: so the first 30τ updates, while v is of few gradients, are smaller, too.

With τ = 0 all of this is the plain rule. Norms are of elements that lie evenly in the tensor, about ``SAMPLED``, from
update to update others; of all only where the gradient of these is nothing, as of an embedding's may be. Over all of
them they would take a quarter of an update. From one update to the next the momentum is kept as m ÷ u, in
the unit u of the newest gradient h before the bound, for that takes one pass less over the weights:

    u' = s·(1 − μ') ÷ (1 − μ),   m' ÷ u' = h + μ'·(u ÷ u')·(m ÷ u)

Whenever a pipeline has drained, it is m again.

That a late gradient does at once what it missed is spike compensation, and in the terms of the weights that the next
minibatch sees so is weight prediction; a longer memory with less of each gradient is Nesterov's method for delays.
Constants were chosen by measuring (docs/decisions/0050-correct-staleness-in-momentum.md).

Sources: Kosson et al., "Pipelined backpropagation at scale", MLSys 2021 (spike compensation); Chen et al., "SpecTrain",
2018, and Guan et al., "PipeOptim", arXiv 2312.00839 (prediction); Ajanthan et al., "Nesterov method for asynchronous
pipeline parallel optimization", ICML 2025; Brock et al., "High-performance large-scale image recognition without
normalization", ICML 2021 (adaptive clipping); You et al., "Large batch training of convolutional networks", arXiv
1708.03888 (steps in proportion to a weight's norm).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from profiler.execution.weight_update import Moments, pieces, write_next
from profiler.settings import UpdateRule

SAMPLED, ROWS = 1 << 13, 1 << 7
"""Elements of a large weight that its norm is taken of, and at least how many rows these lie in."""
REACH, LEAST_ELEMENT, LEAST_SQUARE = 0.15, 0.01, 0.03


@dataclass(frozen=True, slots=True)
class Correction:
    """The numbers of a correction.

    Attributes:
        momentum: μ', or β'.
        share: r.
        reach: κ ÷ τ of SGD; infinite without a bound.
        least: Which share of g² Adam's second moment is at least.
    """

    momentum: float
    share: float
    reach: float = math.inf
    least: float = 0.0


def correction(rule: UpdateRule, staleness: int) -> Correction | None:
    """Return how a rule is corrected for gradients that are so many updates old; None where it is not."""
    if not (rule.correct_staleness and staleness):
        return None
    if rule.name == "sgd":
        momentum = 1 - (1 - rule.momentum) / (1 + staleness) if rule.momenta else 0.0
        return Correction(momentum, min(1.0, (staleness + rule.nesterov) * (1 - momentum)), REACH / staleness)
    momentum = 1 - (1 - rule.betas[0]) / math.sqrt(1 + staleness)
    least = min(1.0, LEAST_SQUARE * staleness)
    return Correction(momentum, min(1.0, 1.5 * staleness * (1 - momentum)), least=least)


def write_version(
    rule: UpdateRule,
    correct: Correction | None,
    weight: Tensor,
    gradient: Tensor | None,
    moments: Moments,
    *,
    out: Tensor,
    cast: Tensor | None = None,
    rise: float = 1.0,
) -> None:
    """Write the next version of ``weight`` to ``out``; without a correction, or a gradient, as ``write_next`` does.

    Args:
        rule: The update rule.
        correct: How it is corrected, if at all.
        weight: The newest version.
        gradient: Its gradient, in whichever type, if it has one; it is only read.
        moments: Changed in place.
        out: Buffer of the next version; a corrected one needs one of its own.
        cast: Buffer of its cast to another type, if it has one.
        rise: How many times the learning rate is what it was at the last update, if it has risen.
    """
    if correct is None or gradient is None:
        write_next(rule, weight, gradient, moments, out=out, cast=cast)
        return
    moments.count += 1
    scale = 1.0 if math.isinf(correct.reach) else _scale(rule, correct, weight, gradient, moments.count)
    has_unit = rule.name == "sgd" and rule.momenta > 0
    unit = scale * (1 - correct.momentum) / (1 - rule.momentum) if has_unit else moments.unit
    casts = [] if cast is None else [cast]
    for old, slope, new, *rest in pieces(weight, gradient, out, *moments.tensors, *casts):
        slope = slope.to(old.dtype)  # noqa: PLW2901 - a gradient may be another weight's, too, and is not changed
        if rule.clip:
            slope = slope.clamp(-rule.clip / scale, rule.clip / scale)  # noqa: PLW2901
        if rule.weight_decay and rule.name != "adamw":
            slope = torch.add(slope, old, alpha=rule.weight_decay / scale)  # noqa: PLW2901
        if rule.name == "sgd":
            _sgd(rule, correct, old, slope, rest, scale=scale, units=(moments.unit / rise, unit), out=new)
        else:
            _adam(rule, correct, old, slope, rest, count=moments.count, out=new)
        if cast is not None:
            rest[-1].copy_(new)
    moments.unit = unit


def _sgd(
    rule: UpdateRule,
    correct: Correction,
    weight: Tensor,
    gradient: Tensor,
    rest: Sequence[Tensor],
    *,
    scale: float,
    units: tuple[float, float],
    out: Tensor,
) -> None:
    before, now = units
    for momentum in rest[: rule.momenta]:
        torch.add(gradient, momentum, alpha=correct.momentum * before / now, out=momentum)
        weight = torch.add(weight, momentum, alpha=-rule.lr * (1 - correct.share) * now, out=out)
    torch.add(weight, gradient, alpha=-rule.lr * scale * correct.share / (1 - rule.momentum), out=out)


def _adam(
    rule: UpdateRule,
    correct: Correction,
    weight: Tensor,
    gradient: Tensor,
    rest: Sequence[Tensor],
    *,
    count: int,
    out: Tensor,
) -> None:
    mean, square = rest[:2]
    beta_square = rule.betas[1]
    bias = (1 - beta_square**count) ** 0.5
    mean.lerp_(gradient, 1 - correct.momentum)
    torch.mul(gradient, gradient, out=out)
    square.lerp_(out, 1 - beta_square)
    torch.maximum(square, out.mul_(correct.least), out=square)
    divisor = torch.sqrt(square).add_(rule.eps * bias)
    torch.mul(mean, (1 - correct.share) / (1 - correct.momentum**count), out=out).add_(gradient, alpha=correct.share)
    kept = weight * (1 - rule.lr * rule.weight_decay) if rule.name == "adamw" and rule.weight_decay else weight
    torch.addcdiv(kept, out, divisor, value=-rule.lr * bias, out=out)


def _scale(rule: UpdateRule, correct: Correction, weight: Tensor, gradient: Tensor, number: int) -> float:
    """Return s; 1 for a gradient that is nothing, or no number."""
    elements, slopes = _sample(weight, number), _sample(gradient, number)
    slope = _norm(slopes)
    if not slope and elements.numel() < weight.numel():
        elements, slope = weight, _norm(gradient)
    length = max(_norm(elements), LEAST_ELEMENT * math.sqrt(elements.numel()))
    step = rule.lr / (1 - rule.momentum) * slope
    return min(1.0, correct.reach * length / step) if 0 < step < math.inf else 1.0


def _sample(tensor: Tensor, number: int) -> Tensor:
    """Return some elements of a large tensor, with each number others: of every so manieth row some that lie together.

    However it lies in memory, no more than these are read.
    """
    if tensor.numel() <= SAMPLED:
        return tensor
    stride = math.ceil(len(tensor) / max(ROWS, SAMPLED * len(tensor) // tensor.numel()))
    rows = tensor[number % stride :: stride]
    if rows.numel() <= SAMPLED:
        return rows
    width = max(1, SAMPLED * rows.shape[1] // rows.numel())
    return rows.narrow(1, number * width % (rows.shape[1] - width + 1), width)


def _norm(tensor: Tensor) -> float:
    """Return a norm that has the same bits however the tensor lies in memory."""
    together = tensor.contiguous()
    return float(torch.linalg.vector_norm(together.to(torch.promote_types(tensor.dtype, torch.float32))))
