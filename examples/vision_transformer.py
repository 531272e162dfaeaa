"""Train a vision transformer of timm, unmodified, on handwritten digits.

python -m pip install timm
python examples/vision_transformer.py
"""

from collections.abc import Iterator

import timm
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import stageplan

BATCH_SIZE = 32


def minibatches(seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all digits once, shuffled."""
    images, digits = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    for own in torch.split(order, BATCH_SIZE):
        yield inputs[own], torch.tensor(digits)[own]


def vision_transformer() -> nn.Module:
    """Return timm's tiny one for images of 8 by 8 pixels in patches of 2 by 2."""
    made: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=8, patch_size=2, in_chans=1, num_classes=10, depth=4
    )
    return made


if __name__ == "__main__":
    torch.manual_seed(0)
    model, sample = vision_transformer(), next(minibatches(seed=0))
    plan = stageplan.plan(stageplan.profile(model, sample, budget_s=5), stages=2)
    print(plan)
    with stageplan.Pipeline(model, plan, update=stageplan.AdamW(lr=0.001)) as pipeline:
        for epoch in range(3):
            result = pipeline.train(minibatches(epoch))
            print(f"epoch {epoch + 1}: loss {result.losses[-1]:.2f}, {result.samples_per_s:,.0f} samples/s")
        state = pipeline.state_dict()
    print(vision_transformer().load_state_dict(state))
