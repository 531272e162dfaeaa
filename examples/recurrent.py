"""Train a recurrent network to tell how many ones a sequence has: an LSTM is one layer, and its output a tuple.

python examples/recurrent.py
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

import stageplan

LENGTH, BATCH_SIZE = 12, 32


class Counter(nn.Module):
    """Reads bits one after the other, ``(N, length)``, and returns scores of their sum."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.bits, self.lstm = nn.Embedding(2, 16), nn.LSTM(16, 64, num_layers=2, batch_first=True)
        self.head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, LENGTH + 1))

    def forward(self, bits: Tensor) -> Tensor:
        """Return the scores."""
        states, _ = self.lstm(self.bits(bits))
        scores: Tensor = self.head(states[:, -1])
        return scores


def minibatches(count: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random bits and their sums."""
    drawn = torch.Generator().manual_seed(seed)
    for _ in range(count):
        bits = torch.randint(2, (BATCH_SIZE, LENGTH), generator=drawn)
        yield bits, bits.sum(1)


if __name__ == "__main__":
    torch.manual_seed(0)
    model = Counter()
    plan = stageplan.plan(stageplan.profile(model, next(minibatches(1, 0)), budget_s=5), stages=2)
    with stageplan.Pipeline(model, plan, update=stageplan.AdamW(lr=3e-3)) as pipeline:
        for epoch in range(3):
            result = pipeline.train(minibatches(100, epoch))
            print(f"epoch {epoch + 1}: loss {result.losses[-1]:.3f}")
    print(f"sums right: {pipeline.evaluate(minibatches(10, 100)):.0%}")
