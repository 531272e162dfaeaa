"""The loss: cross-entropy over all heads of a model, or the user's own function of its output and the targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from profiler.errors import CaptureError, one_line
from profiler.execution.autocast import in_float32

Loss = Callable[[Sequence[Tensor], Tensor], Tensor]
"""Returns one number for the outputs of all heads, the main one first, and the targets."""

AUXILIARY_WEIGHT = 0.3
"""What an auxiliary head's loss counts beside the main one's: Szegedy et al., "Going deeper", CVPR 2015, section 5."""


def cross_entropy(outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of the main head, plus ``AUXILIARY_WEIGHT`` times that of each further one.

    Outputs in bfloat16 are taken in float32.

    Args:
        outputs: One tensor ``(N, classes)`` a head, the main one first.
        targets: ``(N,)``, whole numbers below ``classes``.
    """
    result = nn.functional.cross_entropy(in_float32(outputs[0]), targets)
    for output in outputs[1:]:
        result = result + AUXILIARY_WEIGHT * nn.functional.cross_entropy(in_float32(output), targets)
    return result


@dataclass(frozen=True, slots=True)
class OwnLoss:
    """The user's own loss: ``function(output, targets)``, where a model with several heads gives a tuple of outputs.

    Attributes:
        lower: Whether the model runs under autocast: then outputs in bfloat16 are given in float32.
    """

    function: Callable[[Any, Tensor], Tensor]
    lower: bool = False

    def __post_init__(self) -> None:
        """Refuse a loss that learns itself: no stage would update it.

        Raises:
            CaptureError: It does.
        """
        if isinstance(self.function, nn.Module) and any(each.requires_grad for each in self.function.parameters()):
            raise CaptureError(
                f"the loss {self.name} has parameters of its own that learn, and stages train the model's only; put "
                "them into the model, as its last layer"
            )

    @property
    def name(self) -> str:
        """What to call it."""
        return str(getattr(self.function, "__qualname__", type(self.function).__name__))

    def __call__(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Return the loss of all heads.

        Raises:
            CaptureError: The function raises, or returns no number that a gradient flows back from.
        """
        heads = tuple(map(in_float32, outputs) if self.lower else outputs)
        return self.of(heads[0] if len(heads) == 1 else heads, targets)

    def of(self, output: Any, targets: Tensor) -> Tensor:
        """Return the loss of what the model itself returns.

        Raises:
            CaptureError: The function raises, or returns no number that a gradient flows back from.
        """
        try:
            result = self.function(output, targets)
        except Exception as error:
            raise CaptureError(
                f"the loss {self.name} raised {type(error).__name__}: {one_line(error)}; it is called with what the "
                "model returns and the targets, which come with the sample, (inputs, targets), or from data"
            ) from error
        if not isinstance(result, Tensor) or result.numel() != 1 or result.grad_fn is None:
            what = f"a tensor of shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
            raise CaptureError(
                f"the loss {self.name} returned {what}; it has to return one number that depends on the model's "
                "output: add .mean(), say"
            )
        return result.reshape(())


def heads(returned: Any) -> list[Any]:
    """Return what a model returns as a list of its heads: the main one, then the auxiliary ones that it trains."""
    return [leaf for leaf in returned if leaf is not None] if isinstance(returned, (tuple, list)) else [returned]
