"""Keep buffers as they were before each minibatch whose update is still to come, so that one can be taken back."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from profiler.execution.segment import Place


class KeptBuffers:
    """Copies of a stage's buffers, such as the running means of a batch norm; of what has not changed there is one."""

    def __init__(self, places: Sequence[Place], constants: Mapping[str, Tensor]) -> None:
        """Keep those of ``constants`` that are no parameters."""
        parameters = {place.path for place in places if place.module and place.local in place.module._parameters}  # noqa: SLF001
        self._own = {path: tensor for path, tensor in constants.items() if path not in parameters}
        self._latest: dict[str, Tensor] = {}
        self._before: dict[int, dict[str, Tensor]] = {}

    def keep(self, minibatch: int) -> None:
        """Keep them as they are before the forward of ``minibatch``."""
        for path, tensor in self._own.items():
            kept = self._latest.get(path)
            if kept is None or not torch.equal(kept, tensor):
                self._latest[path] = tensor.clone()
        self._before[minibatch] = dict(self._latest)

    def forget(self, minibatch: int) -> None:
        """Forget what was kept for ``minibatch``, which is trained on."""
        self._before.pop(minibatch, None)

    def take_back(self, minibatch: int) -> None:
        """Bring them to where they were before the forward of ``minibatch``, and forget what was kept since."""
        for path, kept in self._before[minibatch].items():
            self._own[path].copy_(kept)
        self._before.clear()
