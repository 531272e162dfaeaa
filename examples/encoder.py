"""A small transformer encoder that classifies sequences of token ids: a model whose samples are no images.

python -m profiler --config examples/encoder.yaml
"""

import torch
from torch import Tensor, nn

VOCABULARY, LENGTH, WIDTH, HEADS, BLOCKS, CLASSES = 1000, 64, 128, 4, 6, 10


class Block(nn.Module):
    """Self-attention and a feed-forward network, each behind a layer norm and beside a shortcut."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.1, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)
        self.widen, self.activation, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x``, ``(N, LENGTH, WIDTH)``."""
        y = self.attention_norm(x)
        attended, _ = self.attention(y, y, y, need_weights=False)
        x = x + attended
        result: Tensor = x + self.dropout(self.narrow(self.activation(self.widen(self.norm(x)))))
        return result


class Encoder(nn.Module):
    """Embedding, learnt positions, blocks, and a linear layer on the mean over the sequence."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Parameter(torch.zeros(LENGTH, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits ``(N, CLASSES)`` for token ids ``(N, LENGTH)``."""
        x = self.embedding(tokens) + self.positions
        result: Tensor = self.head(self.blocks(x).mean(dim=1))
        return result


def build() -> nn.Module:
    """Return the model."""
    return Encoder()
