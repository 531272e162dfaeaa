"""What a run trains on: the same whatever the split, and refused in one sentence where it cannot be used."""

import random

import pytest
import torch
from loaders import samples

from profiler.errors import ModelError
from runtime.errors import InputError
from runtime.worker import DataSpec, Feed, feed_of

SPEC = DataSpec(
    factory="", shape=(4, 3, 16, 16), dtype=torch.float32, vocabulary=0, classes=5, minibatches=7, seed=3
)  # fmt: skip


def spec(factory: str) -> DataSpec:
    return DataSpec(
        factory=f"loaders:{factory}" if factory else "", shape=SPEC.shape, dtype=SPEC.dtype, vocabulary=0, classes=5,
        minibatches=7, seed=3,
    )  # fmt: skip


def all_of(feed: Feed, minibatches: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(feed.inputs(at), feed.labels(at)) for at in range(minibatches)]


@pytest.mark.parametrize(("factory", "minibatches"), [("", 20), ("dataset", 3), ("augmented", 6)])
def test_every_stage_that_makes_a_feed_has_the_same_minibatches(factory: str, minibatches: int) -> None:
    first, again = (all_of(feed_of(spec(factory)), minibatches) for _ in range(2))
    for ours, theirs in zip(first, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not torch.equal(first[0][0], first[1][0])


def test_what_layers_draw_in_between_does_not_change_what_a_loader_draws() -> None:
    ours, theirs = feed_of(spec("dataset")), feed_of(spec("dataset"))
    for minibatch in range(3):
        torch.manual_seed(minibatch)
        a = ours.inputs(minibatch)
        torch.rand(5)
        assert torch.equal(a, theirs.inputs(minibatch))


def test_the_last_minibatch_of_a_loader_may_have_fewer_samples() -> None:
    feed = feed_of(spec("dataset"))
    assert [len(feed.inputs(at)) for at in range(3)] == [4, 4, 3]
    assert len(feed.labels(2)) == 3


def test_images_of_a_loader_are_laid_out_as_those_that_were_profiled() -> None:
    assert feed_of(spec("dataset")).inputs(0).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("raising", "raised OSError at minibatch 1: the disk is gone"),
        ("dataset", "end after 3 of 7 minibatches; give fewer --batches, or more data"),
        ("wider", r"at minibatch 1 have inputs \(4, 3, 16, 17\) .* and the plan is for \(4, 3, 16, 16\)"),
        ("more", r"at minibatch 0 have inputs \(5, 3, 16, 16\) .*or fewer samples"),
        ("fewer", "at minibatch 0 have 3 samples, and the plan is for 4; .* plan with --batch-size 3"),
        ("doubles", "torch.float64"),
        ("wrong_labels", r"labels from \d+ to \d+, and the model has 5 classes; labels go from 0 to 4"),
        ("real_labels", r"labels \(4,\) of torch.float32; whole numbers of shape \(4,\)"),
        ("alone", "are a Tensor; each has to be a pair of tensors"),
        ("several_processes", "returned a DataLoader with 1 worker processes; .* use num_workers=0"),
        ("number", "returned a int, which cannot be iterated"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(factory: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        all_of(feed_of(spec(factory)), 7)


def test_a_factory_that_is_missing_is_refused() -> None:
    with pytest.raises(ModelError, match="missing"):
        feed_of(spec("missing"))


def test_seeding_leaves_no_pattern_between_runs() -> None:
    """Each feed seeds Python's generator anew, and what it then draws follows from the seed alone."""
    feed_of(spec("augmented"))
    first = random.random()  # noqa: S311
    samples(2)
    feed_of(spec("augmented"))
    assert random.random() == first  # noqa: S311
