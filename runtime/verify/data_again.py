"""The minibatches of a pipeline's run once more, for what trains on them in this process."""

from torch import Tensor

from runtime.pipeline import Execution, Reader
from runtime.worker import Synthetic


def feed_again(execution: Execution, minibatches: int) -> "Synthetic | ReadAgain":
    """Return the minibatches that an execution's runs train on, from the beginning."""
    if execution.settings.data:
        return ReadAgain(execution.reader(), minibatches)
    return Synthetic(execution.data_spec(minibatches))


class ReadAgain:
    """Minibatches of a loader, all read before the first is trained on: layers draw from the same generators."""

    def __init__(self, reader: Reader, minibatches: int) -> None:
        """Read so many."""
        self.reader = reader
        pairs = [pair for pair in (reader.read() for _ in range(minibatches)) if pair]
        if len(pairs) < minibatches:
            raise reader.too_few(minibatches)
        self._pairs = pairs

    def inputs(self, minibatch: int) -> Tensor:
        """Return the inputs of a minibatch."""
        return self._pairs[minibatch][0]

    def targets(self, minibatch: int) -> Tensor:
        """Return its targets."""
        return self._pairs[minibatch][1]
