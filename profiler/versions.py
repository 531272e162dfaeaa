"""Weight versions in a ring of buffers: none is ever copied or restored.

A stage of depth d keeps d versions. Minibatch b runs forward and backward on version max(0, b − d + 1) and its update
writes version b + 1. When that happens, minibatches b + 1 … b + d − 1 are in flight; they hold versions
max(0, b − d + 2) … b, so slot (b + 1) mod d, which held version b − d + 1, is free: its last reader was minibatch b.

Source: weight stashing after Narayanan et al., "PipeDream", SOSP 2019, section 3.3.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from profiler.segment import Place
from profiler.update import UpdateRule, write_next


class WeightVersions:
    """The parameters of one segment in ``depth`` versions, bound to its modules version by version."""

    def __init__(
        self,
        places: Sequence[Place],
        learning: Sequence[str],
        initial: Mapping[str, Tensor],
        depth: int,
        rule: UpdateRule,
    ) -> None:
        """Take over the tensors in ``initial`` as version 0; further versions and the momentum are allocated.

        Args:
            places: Where parameters and buffers are bound.
            learning: Paths of the parameters that learn; all others are bound once and for all.
            initial: Parameters and buffers by path.
            depth: How many versions live at once.
            rule: The update rule.
        """
        self.depth, self.rule = depth, rule
        self.attributes: dict[str, Tensor] = {}
        self._places = [place for place in places if place.path in set(learning)]
        self._tensors = [
            {path: initial[path].detach() if version == 0 else torch.zeros_like(initial[path]) for path in learning}
            for version in range(depth)
        ]
        self._ring = [{path: nn.Parameter(tensor) for path, tensor in tensors.items()} for tensors in self._tensors]
        self._momentum = {path: torch.zeros_like(initial[path]) for path in learning} if rule.momentum else {}
        self.constants = {place.path: initial[place.path] for place in places if place.path not in set(learning)}
        for place in places:
            if place.path in self.constants:
                self._attach(place, initial[place.path])

    def used_by(self, minibatch: int) -> int:
        """Return the version that ``minibatch`` runs on."""
        return max(0, minibatch - self.depth + 1)

    def bind(self, version: int) -> None:
        """Let the modules compute with ``version``."""
        parameters = self._ring[version % self.depth]
        for place in self._places:
            self._attach(place, parameters[place.path])

    @torch.no_grad()
    def update(self, minibatch: int, paths: Iterable[str] | None = None) -> None:
        """Write version ``minibatch + 1`` from version ``minibatch`` and that minibatch's gradients, which are dropped.

        Args:
            minibatch: Whose gradients to apply.
            paths: Only these parameters; all of them where None.
        """
        used = self._ring[self.used_by(minibatch) % self.depth]
        current = self._tensors[minibatch % self.depth]
        following = self._tensors[(minibatch + 1) % self.depth]
        for path in self._tensors[0] if paths is None else paths:
            write_next(self.rule, current[path], used[path].grad, self._momentum.get(path), following[path])
            used[path].grad = None

    def drop_gradients(self) -> None:
        """Forget all gradients, as after a warm-up."""
        for parameters in self._ring:
            for parameter in parameters.values():
                parameter.grad = None

    def tensors(self, version: int) -> Mapping[str, Tensor]:
        """Return the parameters of ``version`` by path."""
        return self._tensors[version % self.depth]

    def _attach(self, place: Place, tensor: Tensor) -> None:
        if place.module is None:
            self.attributes[place.local] = tensor
        elif isinstance(tensor, nn.Parameter):
            place.module._parameters[place.local] = tensor  # noqa: SLF001 - rebinding is what versions are about
        elif place.local in place.module._buffers:  # noqa: SLF001
            place.module._buffers[place.local] = tensor  # noqa: SLF001
        else:
            place.module._parameters[place.local] = nn.Parameter(tensor, requires_grad=False)  # noqa: SLF001
