"""The backward of convolutions and linear layers in two: the gradient of the input now, those of the weights later.

Whoever waits for a backward waits for the first. The second may be computed whenever there is time: a backward that is
split leaves it (``Left``), which keeps alive the layer's input and the gradient of its output until it is done. Both
compute what torch's own backward does in one, bit for bit, where the layer is run once in a minibatch and nothing else
reads its parameters. Whatever else learns, such as norms and embeddings, has its gradients from the first.

Source: Qi et al., "Zero bubble pipeline parallelism", ICLR 2024, section 2.1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from profiler.execution.autocast import LOWER
from profiler.execution.gradient_place import has_place, newest_cast, onednn_lowers, place_of

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
SEPARABLE: dict[type[nn.Module], int | None] = {nn.Linear: None, nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}
"""Kinds of layers whose backward can be in two, each with the number of dimensions of its input; None: any."""
_LATER = "later"


@dataclass(frozen=True, slots=True)
class Left:
    """The gradients of one layer's parameters, to be computed later.

    Attributes:
        parameters: The layer's weight, and its bias if it has one.
        used: The weight as the forward used it, which may be a cast.
        holds: What is kept alive for them: the layer's input, and the gradient of its output.
    """

    module: Layer
    parameters: tuple[nn.Parameter, nn.Parameter | None]
    used: Tensor
    holds: tuple[Tensor, Tensor]

    def add(self) -> None:
        """Compute them, and add them to those that the parameters have."""
        inputs, gradient = self.holds
        with torch.no_grad():
            found = _weight_gradients(self.module, gradient, inputs, self.used, self.parameters)
            for parameter, own in zip(self.parameters, found, strict=True):
                _add(parameter, own)


class Later:
    """Collects what backwards leave."""

    def __init__(self) -> None:
        """Begin with backwards that are in one."""
        self._left: list[Left] | None = None

    @contextmanager
    def leaving(self) -> Iterator[list[Left]]:
        """Let backwards leave the gradients of weights, and yield the list in which they leave them, in their order."""
        self._left = []
        try:
            yield self._left
        finally:
            self._left = None

    def takes(self, left: Left) -> bool:
        """Keep what a backward leaves; say whether that is so, or it has to be computed now."""
        if self._left is None or torch.is_grad_enabled():  # a backward that is itself differentiated stays in one
            return False
        self._left.append(left)
        return True


def let_leave(weight: nn.Parameter, later: Later | None) -> None:
    """Let the layer that ``weight`` is of leave its gradients to ``later``; None: compute them in its backward."""
    setattr(weight, _LATER, later)


def is_plain(module: object, *kinds: type[nn.Module]) -> bool:
    """Say whether ``module`` is a layer of torch's own of one of these kinds, and calling it does nothing else."""
    if not isinstance(module, nn.Module) or type(module) not in kinds or "forward" in vars(module):
        return False
    hooks = (
        module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks,  # noqa: SLF001
    )  # fmt: skip
    return not any(hooks)


def is_separable(module: object) -> bool:
    """Say whether the backward of ``module`` can be in two."""
    if not is_plain(module, *SEPARABLE):
        return False
    return isinstance(module, nn.Linear) or (module.padding_mode == "zeros" and not isinstance(module.padding, str))  # type: ignore[attr-defined]


def has_own_backward(module: object, inputs: Any) -> TypeGuard[Layer]:
    """Say whether ``module`` is a layer that ``output_of`` runs: its gradients have a place, or may be left."""
    if type(module) not in SEPARABLE:
        return False
    dimensions = SEPARABLE[type(module)]  # type: ignore[index]
    may_leave = getattr(module.weight, _LATER, None) is not None and dimensions in {None, inputs.dim()}  # type: ignore[attr-defined]
    return may_leave or has_place(module, inputs)


def output_of(module: Layer, inputs: Tensor) -> Tensor:
    """Return a layer's output, with a backward that may be in two."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, nn.Parameter)
    cast = None
    if torch.is_autocast_enabled("cpu"):
        inputs, cast = inputs.to(LOWER), newest_cast(weight)
        if (place := place_of(weight)) is not None:
            place.autocast = True
    outputs: Tensor = _Layer.apply(module, inputs, weight, bias, cast)
    return outputs


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - autograd gives them in order
        context: Any,
        module: Layer,
        inputs: Tensor,
        weight: nn.Parameter,
        bias: nn.Parameter | None,
        cast: Tensor | None,
    ) -> Tensor:
        own, added = (weight, bias) if cast is None else (cast, None if bias is None else bias.to(LOWER))
        context.save_for_backward(inputs, own)
        context.layer, context.parameters = module, (weight, bias)
        if isinstance(module, nn.Linear):
            return nn.functional.linear(inputs, own, added)
        outputs: Tensor = module._conv_forward(inputs, own, added)  # noqa: SLF001 - as its forward calls it
        return outputs

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Any, ...]:
        inputs, own = context.saved_tensors
        module, (weight, bias) = context.layer, context.parameters
        for_inputs = _input_gradient(module, gradient, inputs, own) if context.needs_input_grad[1] else None

        later: Later | None = getattr(weight, _LATER, None)
        if later is not None and later.takes(Left(module, (weight, bias), own, (inputs, gradient))):
            return None, for_inputs, None, None, None
        return None, for_inputs, *_weight_gradients(module, gradient, inputs, own, (weight, bias)), None


def _input_gradient(module: Layer, gradient: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    if isinstance(module, nn.Linear):
        return (_rows(gradient) @ weight).view(inputs.shape)
    return _convolution_backward(module, gradient, inputs, weight, (True, False, False))[0]


def _weight_gradients(
    module: Layer, gradient: Tensor, inputs: Tensor, own: Tensor, parameters: tuple[nn.Parameter, nn.Parameter | None]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of a layer's parameters; None of one that there is none of, or that is in its place."""
    weight, bias = parameters
    learns = bias is not None and bias.requires_grad
    if not isinstance(module, nn.Linear):
        _, kernel, added = _convolution_backward(module, gradient, inputs, own, (False, True, learns))
        return kernel.to(weight.dtype), added.to(weight.dtype) if learns else None
    back, left = _rows(gradient), _rows(gradient).t()
    of_bias = back.sum(0).to(weight.dtype) if learns else None
    if gradient.dtype == LOWER and onednn_lowers():
        left = left.contiguous()  # half the time, and the same bits
    place = place_of(weight) if inputs.dim() == 2 else None
    if place is None:
        return (left @ _rows(inputs)).to(weight.dtype), of_bias
    (place.add if gradient.dtype == weight.dtype else place.add_lower)(weight, left, inputs)
    return None, of_bias


def _convolution_backward(
    module: Any, gradient: Tensor, inputs: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients that are wanted: of the input, the weight and the bias."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, inputs, weight, [len(weight)] if wanted[2] else None, module.stride, module.padding, module.dilation,
        False, [0] * len(module.stride), module.groups, wanted,  # noqa: FBT003 - not transposed
    )  # fmt: skip
    return gradients


def _rows(tensor: Tensor) -> Tensor:
    """Return ``(…, features)`` as a matrix."""
    return tensor if tensor.dim() == 2 else tensor.reshape(-1, tensor.shape[-1])


def _add(parameter: nn.Parameter | None, gradient: Tensor | None) -> None:
    """Add to a parameter's gradient as autograd does."""
    if parameter is None or gradient is None:
        return
    if parameter.grad is None:
        parameter.grad = gradient
    else:
        parameter.grad += gradient
