"""A linear layer whose weight's gradient has one place, in which each backward writes it anew.

Otherwise every backward asks the heap for room, and a heap rarely gives the same room twice: to align it, glibc before
2.38 wants 96 bytes more than what was freed has. A stage with AlexNet's largest layer then holds one or two copies of a
144 MiB gradient that nobody reads. Forward and backward compute what torch's own do, bit for bit, where the layer is
run once in a minibatch and nothing else reads its weight: of several uses, autograd first makes one sum.

Under autocast the product is bfloat16, and stays it until the update, which reads it, and casts the weight that it
writes while both are in the cache. That is what autocast computes, without gradients in float32 and casts in the
forward.
"""

from functools import cache
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from profiler.execution.autocast import LOWER

LARGE_BYTES = 1 << 20
"""From this size on, a weight's gradient has a place."""
_PLACE, _CAST = "gradient_place", "weight_cast"


class GradientPlace:
    """Where the gradient of a weight goes, whichever version it is of.

    Attributes:
        fused: Whether a further gradient is added to it within its product: in one pass over memory instead of four,
            and rounded once, where torch rounds the product and then the sum. Not so under autocast.
        lower: The gradient of a single minibatch in bfloat16, which nobody has asked for in float32 yet.
    """

    def __init__(self, weight: Tensor, *, fused: bool) -> None:
        """Make a place for gradients of ``weight``; it takes memory when it is used first."""
        self.fused, self.autocast = fused, False
        self.lower: Tensor | None = None
        self._like = weight
        self._whole: Tensor | None = None
        self._product: Tensor | None = None

    @property
    def whole(self) -> Tensor:
        """The place in float32."""
        if self._whole is None:
            self._whole = torch.empty_like(self._like)
        return self._whole

    @property
    def product(self) -> Tensor:
        """The place in bfloat16."""
        if self._product is None:
            self._product = torch.empty_like(self._like, dtype=LOWER)
        return self._product

    def add_lower(self, weight: nn.Parameter, left: Tensor, right: Tensor) -> None:
        """Add a product in bfloat16 to the gradient of ``weight``."""
        if self.lower is not None:
            weight.grad, self.lower = self.whole.copy_(self.lower), None
        product = torch.mm(left, right, out=self.product)
        if weight.grad is None:
            self.lower = product
        else:
            weight.grad += product

    def add(self, weight: nn.Parameter, left: Tensor, right: Tensor) -> None:
        """Add a product in float32 to the gradient of ``weight``."""
        if weight.grad is None:
            weight.grad = torch.mm(left, right, out=self.whole)
        elif self.fused:
            weight.grad.addmm_(left, right)
        else:
            weight.grad += left @ right


def give_place(weight: nn.Parameter, place: GradientPlace) -> None:
    """Let linear layers write the gradient of ``weight`` to ``place``."""
    setattr(weight, _PLACE, place)


def is_plain(module: object, *kinds: type[nn.Module]) -> bool:
    """Say whether ``module`` is a layer of torch's own of one of these kinds, and calling it does nothing else."""
    if not isinstance(module, nn.Module) or type(module) not in kinds or "forward" in vars(module):
        return False
    hooks = (
        module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks,  # noqa: SLF001
    )  # fmt: skip
    return not any(hooks)


def has_place(module: object, inputs: Any) -> TypeGuard[nn.Linear]:
    """Say whether ``module`` is a linear layer whose weight's gradient has a place, and ``inputs`` are a matrix."""
    return type(module) is nn.Linear and hasattr(module.weight, _PLACE) and inputs.dim() == 2


def linear(module: nn.Linear, inputs: Tensor) -> Tensor:
    """Return the layer's output ``(N, out)`` for ``(N, in)``."""
    outputs: Tensor
    if torch.is_autocast_enabled("cpu"):
        outputs = _LowerLinear.apply(inputs.to(LOWER), module.weight, module.bias)
    else:
        outputs = _Linear.apply(inputs, module.weight, module.bias)
    return outputs


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: nn.Parameter, bias: Tensor | None) -> Tensor:
        context.save_for_backward(inputs, weight)
        context.weight = weight
        return nn.functional.linear(inputs, weight, bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        inputs, values = context.saved_tensors
        getattr(context.weight, _PLACE).add(context.weight, gradient.t(), inputs)
        for_inputs, _, for_bias = context.needs_input_grad
        return gradient @ values if for_inputs else None, None, gradient.sum(0) if for_bias else None


class _LowerLinear(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: nn.Parameter, bias: Tensor | None) -> Tensor:
        getattr(weight, _PLACE).autocast = True
        cast = _newest_cast(weight)
        context.save_for_backward(inputs, cast)
        context.weight = weight
        return nn.functional.linear(inputs, cast, None if bias is None else bias.to(LOWER))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        inputs, cast = context.saved_tensors
        left = gradient.t().contiguous() if onednn_lowers() else gradient.t()  # half the time, and the same bits
        getattr(context.weight, _PLACE).add_lower(context.weight, left, inputs)
        for_inputs, _, for_bias = context.needs_input_grad
        return gradient @ cast if for_inputs else None, None, gradient.sum(0).float() if for_bias else None


@cache
def onednn_lowers() -> bool:
    """Say whether oneDNN makes products in bfloat16, whose bits do not depend on how their operands lie in memory."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - nothing else tells


def cast_place(weight: nn.Parameter) -> Tensor:
    """Return the place of a weight's cast; what is in it no minibatch uses, if the weight may be written to."""
    _, cast = getattr(weight, _CAST, (None, None))
    return torch.empty_like(weight, dtype=LOWER) if cast is None else cast


def keep_cast(weight: nn.Parameter, cast: Tensor) -> None:
    """Note that ``cast`` is the weight in bfloat16, until it is written to again."""
    setattr(weight, _CAST, (weight._version, cast))  # noqa: SLF001 - the only way to see a write


def _newest_cast(weight: nn.Parameter) -> Tensor:
    """Return a weight in bfloat16, cast where it was written to since."""
    cast: Tensor
    made, cast = getattr(weight, _CAST, (None, weight))
    if made != weight._version:  # noqa: SLF001
        cast = cast_place(weight).copy_(weight.detach())
        keep_cast(weight, cast)
    return cast
