"""Train BERT of transformers, unmodified and small, to tell which module of Python a line of its help is from.

python -m pip install transformers
python examples/bert.py
"""

import json
import random
import statistics
import subprocess
from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification  # type: ignore[import-not-found]

import stageplan

MODULES = (json, random, statistics, subprocess)
LENGTH, BATCH_SIZE = 64, 16


def lines() -> list[tuple[str, int]]:
    """Return each line of the modules' help that has a few words, and which module it is from."""
    texts = [
        f"{own.__doc__ or ''}\n" + "\n".join(getattr(own, name).__doc__ or "" for name in own.__all__)
        for own in MODULES
    ]
    return [(line.strip(), at) for at, text in enumerate(texts) for line in text.splitlines() if len(line.split()) > 3]


def minibatches(seed: int) -> Iterator[dict[str, Tensor]]:
    """Yield all lines once, shuffled: letters as numbers, padded to one length."""
    every = lines()
    random.Random(seed).shuffle(every)  # noqa: S311 - no secret
    for start in range(0, len(every) - BATCH_SIZE, BATCH_SIZE):
        some = every[start : start + BATCH_SIZE]
        rows = [[min(ord(letter), 127) for letter in line[:LENGTH]] for line, _ in some]
        ids = torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows])
        yield {
            "input_ids": ids,
            "attention_mask": (ids > 0).long(),
            "labels": torch.tensor([module for _, module in some]),
        }


if __name__ == "__main__":
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=128, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256,
        max_position_embeddings=LENGTH, num_labels=len(MODULES),
    )  # fmt: skip
    model, sample = BertForSequenceClassification(config), next(minibatches(seed=0))
    plan = stageplan.plan(stageplan.profile(model, sample, loss="model", budget_s=5), stages=2)
    print(plan)
    update = stageplan.AdamW(lr=0.001)
    with stageplan.Pipeline(model, plan, sample=sample, loss="model", update=update) as pipeline:
        for epoch in range(3):
            result = pipeline.train(minibatches(epoch))
            print(f"epoch {epoch + 1}: loss {result.losses[-1]:.2f}, {result.samples_per_s:,.0f} samples/s")
        state = pipeline.state_dict()
    print(BertForSequenceClassification(config).load_state_dict(state))
