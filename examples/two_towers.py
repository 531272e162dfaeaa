"""Train a model of two inputs, an image and a table, that returns its own loss, as models of transformers do.

python examples/two_towers.py
"""

from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import stageplan

BATCH_SIZE = 32


class TwoTowers(nn.Module):
    """Tells a digit by its image and by the sums of its rows and columns."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.table = nn.Sequential(nn.Linear(16, 64), nn.ReLU())
        self.head = nn.Linear(32 * 16 + 64, 10)

    def forward(self, image: Tensor, sums: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return scores, and the loss where labels are given."""
        logits = self.head(torch.cat([self.image(image), self.table(sums)], 1))
        loss = {} if labels is None else {"loss": functional.cross_entropy(logits, labels)}
        return {"logits": logits} | loss


def minibatches(seed: int) -> Iterator[dict[str, Tensor]]:
    """Yield all digits once, shuffled; the last minibatch is smaller."""
    images, digits = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    sums = torch.cat([inputs.sum(2).flatten(1), inputs.sum(3).flatten(1)], 1)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    for own in torch.split(order, BATCH_SIZE):
        yield {"image": inputs[own], "sums": sums[own], "labels": torch.tensor(digits)[own]}


if __name__ == "__main__":
    torch.manual_seed(0)
    model, sample = TwoTowers(), next(minibatches(seed=0))
    plan = stageplan.plan(stageplan.profile(model, sample, loss="model", budget_s=5), stages=2)
    print(plan)
    pipeline = stageplan.Pipeline(model, plan, sample=sample, loss="model", update=stageplan.SGD(lr=0.1))
    with pipeline:
        for epoch in range(3):
            result = pipeline.train(minibatches(epoch))
            print(f"epoch {epoch + 1}: loss {result.losses[-1]:.3f}, {result.samples_per_s:,.0f} samples/s")
    print(f"loss over all, in eval mode: {pipeline.evaluate(minibatches(9)):.3f}")
