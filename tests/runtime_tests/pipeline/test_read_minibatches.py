"""Reading minibatches of the user's own: as they come, or refused in one sentence where they cannot be used."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from loaders import samples
from torch import nn

from profiler.capture import made
from profiler.capture.layer_graph import capture
from profiler.execution import Captured, OwnLoss
from runtime.errors import InputError
from runtime.pipeline import Reader, refuse_other_data

WANTED = capture(nn.Sequential(nn.Flatten(), nn.Linear(768, 5)), "it", samples(4)[0])
ANY_TARGETS = replace(WANTED, loss=OwnLoss(nn.functional.mse_loss))
Pairs = list[tuple[torch.Tensor, torch.Tensor]]


def reader(factory: str, wanted: Captured = WANTED) -> Reader:
    return Reader(made(f"loaders:{factory}", 3), wanted, "the data")


def read(source: Reader, most: int = 7) -> Pairs:
    pairs = [source.read() for _ in range(most)]
    return [pair for pair in pairs if pair]


@pytest.mark.parametrize(("factory", "minibatches"), [("dataset", 3), ("augmented", 6), ("several_processes", 3)])
def test_a_factory_that_is_seeded_gives_the_same_minibatches_again(factory: str, minibatches: int) -> None:
    ours, theirs = reader(factory), reader(factory)
    first = read(ours, minibatches)
    assert len(first) == minibatches
    refuse_other_data("the data", ours.checksums, theirs.checksums)  # of which none has been read
    for ours_pair, theirs_pair in zip(first, read(reader(factory), minibatches), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours_pair, theirs_pair, strict=True))


def test_two_readings_that_differ_are_refused_at_the_first_difference() -> None:
    first, second = reader("unseeded"), reader("unseeded")
    while first.checksums == second.checksums:
        read(first, 1)
        read(second, 1)
    with pytest.raises(
        InputError, match=f"differ from one reading to the next at minibatch {len(first.checksums) - 1}"
    ):
        refuse_other_data("the data", first.checksums, second.checksums)


def test_the_last_minibatch_may_have_fewer_samples_and_so_may_the_first() -> None:
    assert [len(inputs) for inputs, _ in read(reader("dataset"))] == [4, 4, 3]
    assert [len(targets) for _, targets in read(reader("fewer"))] == [3]


def test_what_targets_look_like_is_read_off_the_first_minibatch_which_is_still_there() -> None:
    source = reader("fewer")
    assert source.target_spec().shape == (4,)
    assert len(read(source)) == 1


def test_images_are_laid_out_as_those_that_were_profiled() -> None:
    assert read(reader("dataset"))[0][0].is_contiguous(memory_format=torch.channels_last)


def test_what_cannot_be_iterated_is_refused() -> None:
    with pytest.raises(InputError, match="are a int, which cannot be iterated"):
        Reader(3, WANTED, "the data").read()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (torch.cat([x, x[:1]]), y), r"have inputs \(5, 3, 16, 16\) .*or fewer samples"),
        (lambda x, y: (x[..., 1:], y), r"have inputs \(4, 3, 16, 15\) .* and the plan is for \(4, 3, 16, 16\)"),
        (lambda x, y: (x.double(), y), ".* of torch.float64"),
        (
            lambda x, y: (x, y.float()),
            r"have labels \(4,\) of torch.float32; whole numbers \(torch.int64\)",
        ),
        (lambda x, y: (x, y, y), "are a tuple; each has to be a pair of tensors"),
        (lambda x, y: {"x": x, "y": y}, r"are a dict; each has to be a pair .*\(\(batch\['x'\], batch\['y'\]\) for"),
        (lambda x, y: (x, y - 1 - y.max()), r"have labels from .*; labels go from 0 to 4, and -100 leaves one out$"),
        (
            lambda x, y: (x, torch.eye(5)[y]),
            r"have labels \(4, 5\) of torch.float32; .*any targets: loss=torch",
        ),
        (lambda x, y: (x[:0], y[:0]), "have no sample; leave empty minibatches out"),
        (lambda x, y: (x.to("meta"), y), r"have inputs on meta; stages run on the CPU: use inputs.cpu\(\)"),
        (lambda x, y: (x, y.to("meta")), r"have targets on meta; stages run on the CPU: use targets.cpu\(\)"),
        (lambda x, y: (x, y[:3]), r"have targets \(3,\) for 4 samples; give as many"),
    ],
)
def test_a_minibatch_that_cannot_be_used_is_told_by_number_with_what_to_do(
    change: Callable[[torch.Tensor, torch.Tensor], Any], words: str
) -> None:
    source = Reader([samples(4), change(*samples(4))], WANTED, "the data")
    assert source.read()
    with pytest.raises(InputError, match=f"^the data at minibatch 1 {words}"):
        source.read()


def test_a_single_sample_is_refused_where_a_batch_norm_would_have_one_value_a_channel() -> None:
    norm, *others = (
        capture(nn.Sequential(*before, nn.Flatten(), nn.Linear(768, 5), *behind), "it", samples(4)[0])
        for before, behind in (([], [nn.BatchNorm1d(5)]), ([], [nn.LayerNorm(5)]), ([nn.BatchNorm2d(3)], []))
    )
    assert all(len(read(Reader([samples(2), samples(1)], other, "the data"))) == 2 for other in others)
    source = Reader([samples(2), samples(1)], norm, "the data")
    assert source.read()
    with pytest.raises(InputError, match=r"minibatch 1 have a single sample, and the batch norm 2 .*drop_last=True"):
        source.read()


def test_targets_of_a_loss_of_ones_own_may_be_any_tensor_but_always_of_one_kind() -> None:
    assert len(read(Reader([(samples(4)[0], samples(4)[1].float())], ANY_TARGETS, "the data"))) == 1
    source: Any = [(samples(4)[0], torch.zeros(4, 2)), (samples(4)[0], torch.zeros(4, 3))]
    with pytest.raises(InputError, match=r"at minibatch 1 have targets \(4, 3\) of torch.float32, unlike those before"):
        read(Reader(source, ANY_TARGETS, "the data"))


def test_a_label_may_be_left_out() -> None:
    inputs, labels = samples(4)
    source = Reader([(inputs, torch.where(labels == labels[0], -100, labels))], WANTED, "the data")
    assert source.read()
