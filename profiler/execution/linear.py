"""A linear layer whose weight's gradient has one place, in which each backward writes it anew.

Otherwise every backward asks the heap for room, and a heap rarely gives the same room twice: to align it, glibc before
2.38 wants 96 bytes more than what was freed has. A stage with AlexNet's largest layer then holds one or two copies of a
144 MiB gradient that nobody reads. Forward and backward compute what torch's own do, bit for bit, where the layer is
run once in a minibatch and nothing else reads its weight: of several uses, autograd first makes one sum.
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

LARGE_BYTES = 1 << 20
"""From this size on, a weight's gradient has a place."""
_PLACE, _FUSED = "gradient_place", "gradients_fused"


def give_place(weight: Tensor, place: Tensor, *, fused: bool) -> None:
    """Let linear layers write the gradient of ``weight`` to ``place``, a tensor like it, and let that be ``grad``.

    Args:
        weight: What the gradient is of.
        place: Where it goes.
        fused: Whether a further gradient is added to it within its product: in one pass over memory instead of four,
            and rounded once, where torch rounds the product and then the sum.
    """
    setattr(weight, _PLACE, place)
    setattr(weight, _FUSED, fused)


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
    outputs: Tensor = _Linear.apply(inputs, module.weight, module.bias)
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
        weight = context.weight
        if weight.grad is None:
            weight.grad = torch.mm(gradient.t(), inputs, out=getattr(weight, _PLACE))
        elif getattr(weight, _FUSED):
            weight.grad.addmm_(gradient.t(), inputs)
        else:
            weight.grad += gradient.t() @ inputs
        for_inputs, _, for_bias = context.needs_input_grad
        return gradient @ values if for_inputs else None, None, gradient.sum(0) if for_bias else None
