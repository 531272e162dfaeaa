"""The loss: cross-entropy over all heads of a model, the user's own function, or what the model itself returns as it.

A loss says which of the tensors that a model returns enter it, its heads, and makes one number of them and the targets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from profiler.errors import CaptureError, one_line
from profiler.execution.autocast import in_float32
from profiler.execution.trees import Leaf, map_tree, tree_leaves

AUXILIARY_WEIGHT = 0.3
"""What an auxiliary head's loss counts beside the main one's: Szegedy et al., "Going deeper", CVPR 2015, section 5."""
LOGITS, LOSS = "logits", "loss"
"""What models that return a mapping or a dataclass call scores, and their own loss."""


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """The mean cross-entropy of the main head, plus ``AUXILIARY_WEIGHT`` times that of each further one.

    Outputs in bfloat16 are taken in float32. Targets of -100 are left out; where all are, the loss is 0.
    """

    name = "cross-entropy"

    def heads(self, returned: Any) -> list[Any]:
        """Return the heads of what a model returns: its ``logits`` where that has names, else all that is not None."""
        logits = _named(returned, LOGITS)
        return heads(returned if logits is None else logits)

    def returned(self, outputs: Sequence[Tensor]) -> Any:
        """Return a model's heads as a model that has nothing else returns them."""
        return tuple(outputs)

    def __call__(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        """Return the loss.

        Args:
            outputs: One tensor ``(N, …, classes)`` a head, the main one first.
            targets: ``(N, …)``, whole numbers from 0 and below ``classes``, or -100.
        """
        result = _cross_entropy(outputs[0], targets)
        for output in outputs[1:]:
            result = result + AUXILIARY_WEIGHT * _cross_entropy(output, targets)
        return result

    def of(self, returned: Any, targets: Tensor) -> Tensor:
        """Return the loss of what a model returns."""
        return self(self.heads(returned), targets)


def _cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    scores = in_float32(output)
    if scores.dim() > 2:
        scores, targets = scores.flatten(0, -2), targets.flatten()
    reduction = "mean" if (targets != IGNORED).any() else "sum"  # a mean over no label is no number
    return nn.functional.cross_entropy(scores, targets, ignore_index=IGNORED, reduction=reduction)


IGNORED = -100
"""The target of a sample that does not count."""
cross_entropy = CrossEntropy()


def _named(returned: Any, name: str) -> Any:
    """Return what a model calls ``name`` of what it returns; None where it names nothing so."""
    if isinstance(returned, tuple):  # of heads, whatever they are called
        return None
    return returned.get(name) if isinstance(returned, Mapping) else getattr(returned, name, None)


def model_loss(returned: Any, _targets: Any) -> Tensor:
    """Return the loss that a model returns itself, its targets being among its inputs."""
    loss: Tensor = _named(returned, LOSS)
    return loss


@dataclass(frozen=True, slots=True)
class OwnLoss:
    """The user's own loss, ``function(output, targets)`` of what the model returns; or the model's own.

    Attributes:
        lower: Whether the model runs under autocast: then outputs in bfloat16 are given in float32.
        tree: What the model returns, with a ``Leaf`` in the place of each of its heads.
    """

    function: Callable[[Any, Tensor], Tensor]
    lower: bool = False
    tree: Any = field(default_factory=Leaf)

    def __post_init__(self) -> None:
        """Refuse a loss that learns itself: no stage would update it."""
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
        """Return the loss of all heads."""
        return self.of(self.returned(outputs), targets)

    def of_model(self, returned: Any) -> "OwnLoss":
        """Return the loss of a model that returns such a tree, with a ``Leaf`` in the place of each tensor."""
        return replace(self, tree={LOSS: self.heads(returned)[0]} if self.function is model_loss else returned)

    def returned(self, outputs: Sequence[Tensor]) -> Any:
        """Return what the model returns, given its heads in order."""
        left = iter(map(in_float32, outputs) if self.lower else outputs)
        return map_tree(lambda leaf: next(left) if isinstance(leaf, Leaf) else leaf, self.tree)

    def heads(self, returned: Any) -> list[Any]:
        """Return what enters the loss: all that the model returns but None, or the loss that it returns."""
        if self.function is not model_loss:
            return [leaf for _, leaf in tree_leaves(returned) if leaf is not None]
        loss = _named(returned, LOSS)
        if isinstance(returned, (tuple, list)):
            raise CaptureError(
                f'loss="model" takes what the model returns by the name `{LOSS}`, and it returned a '
                f"{type(returned).__name__} of {len(returned)}; return a dict or a dataclass that calls the loss "
                f"`{LOSS}`, or give loss=function(output, targets)"
            )
        if loss is None:
            raise CaptureError(
                f'loss="model" takes the loss that the model returns, and it returned {type(returned).__name__} '
                "without one; give it the labels that it wants among its inputs, or another loss"
            )
        return [loss]

    def of(self, output: Any, targets: Tensor) -> Tensor:
        """Return the loss of what the model itself returns."""
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


Loss = CrossEntropy | OwnLoss
"""Returns one number for the outputs of all heads, the main one first, and the targets."""
