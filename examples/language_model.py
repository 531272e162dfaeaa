"""Train a language model after GPT-2, its head tied to its embedding, on text that ships with Python.

python examples/language_model.py
"""

from collections.abc import Iterator
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional

import stageplan

WIDTH, HEADS, BLOCKS, LENGTH, BATCH_SIZE = 96, 4, 4, 64, 16
CHARACTERS = 128


class Block(nn.Module):
    """Attention to what came before, and two linear layers; each adds to its input."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input with what the block adds."""
        samples, length, width = x.shape
        qkv = self.qkv(self.before(x)).view(samples, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        queries, keys, values = qkv.unbind(0)
        seen = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(samples, length, width))
        added: Tensor = x + self.down(functional.gelu(self.up(self.between(x))))
        return added


class LanguageModel(nn.Module):
    """Tells the next character of each, ``(N, length)`` to scores ``(N, length, characters)``."""

    def __init__(self) -> None:
        """Make the layers, the head's weight that of the embedding."""
        super().__init__()
        self.tokens, self.places = nn.Embedding(CHARACTERS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks, self.norm = nn.Sequential(*(Block() for _ in range(BLOCKS))), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CHARACTERS, bias=False)
        self.head.weight = self.tokens.weight
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, text: Tensor) -> Tensor:
        """Return the scores of what comes next."""
        scores: Tensor = self.head(self.norm(self.blocks(self.tokens(text) + self.places.weight[: text.shape[1]])))
        return scores


def minibatches(count: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pieces of Python's own help texts, and the same a character later."""
    text = torch.tensor(list("".join(topics.values()).encode("ascii", "replace")))
    drawn = torch.Generator().manual_seed(seed)
    for _ in range(count):
        starts = torch.randint(len(text) - LENGTH - 1, (BATCH_SIZE, 1), generator=drawn)
        pieces = text[starts + torch.arange(LENGTH + 1)]
        yield pieces[:, :-1], pieces[:, 1:]


if __name__ == "__main__":
    torch.manual_seed(0)
    model, sample = LanguageModel(), next(minibatches(1, seed=1))
    plan = stageplan.plan(stageplan.profile(model, sample, budget_s=3), stages=2)
    print(plan)
    with stageplan.Pipeline(model, plan, update=stageplan.AdamW(lr=3e-3)) as pipeline:
        for epoch in range(3):
            result = pipeline.train(minibatches(40, seed=epoch))
            print(f"epoch {epoch + 1}: loss {result.losses[-1]:.2f}, {result.samples_per_s:,.0f} samples/s")
    model.load_state_dict(pipeline.state_dict())
    right = pipeline.evaluate(minibatches(10, seed=100))
    print(f"of the next characters, {right:.0%} are right; the head is the embedding: ", end="")
    print(model.head.weight is model.tokens.weight)
