"""Synthetic minibatches: the same for every stage that makes them, and different from one another."""

import torch

from runtime.worker import POOL, DataSpec, Synthetic

SPEC = DataSpec(shape=(4, 3, 16, 16), dtype=torch.float32, vocabulary=0, classes=5, labels=(4,), pool=POOL, seed=3)


def test_every_stage_that_makes_them_has_the_same_minibatches() -> None:
    first, again = Synthetic(SPEC), Synthetic(SPEC)
    first.prepare(inputs=True, targets=True)
    for minibatch in range(POOL + 4):
        assert torch.equal(first.inputs(minibatch), again.inputs(minibatch))
        assert torch.equal(first.targets(minibatch), again.targets(minibatch))
    assert not torch.equal(first.inputs(0), first.inputs(1))
    assert torch.equal(first.inputs(0), first.inputs(POOL))
