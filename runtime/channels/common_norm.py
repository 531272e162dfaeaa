"""Let the stages of a pipeline know the norm of all their gradients, bit for bit as one process works it out."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from profiler.execution import norm_scale
from runtime.channels.gloo import blaming_the_neighbour


class CommonNorm:
    """The norm of the gradients of all stages, which meet over gloo for it."""

    def __init__(self, parameters: Sequence[str], bound: float) -> None:
        """Bound the norm over ``parameters``, the paths of all the model's in its own order, by ``bound``."""
        self._place = {path: place for place, path in enumerate(parameters)}
        self._bound = bound

    def scale(self, norms: Mapping[str, Tensor]) -> Tensor:
        """Return what every gradient is multiplied by, once all stages have told the norms of theirs.

        Args:
            norms: Of this stage's gradients, by path; a parameter without one counts for none.
        """
        told = torch.zeros(2, len(self._place))  # the norms, and whether there are any: zeros add nothing to a bit
        for path, norm in norms.items():
            told[0, self._place[path]], told[1, self._place[path]] = norm, 1.0
        with blaming_the_neighbour():
            dist.all_reduce(told)
        return norm_scale(list(told[0, told[1] > 0]), self._bound)
