"""A metric's mean is taken over what it counts, samples or labels, however they are spread over minibatches."""

import pytest
import torch
from torch import Tensor, nn

from runtime.errors import InputError
from runtime.training.evaluate import accuracy, evaluated


def scored(classes: list[int]) -> Tensor:
    """Scores of which the highest are those of ``classes``."""
    return nn.functional.one_hot(torch.tensor(classes), 4).float()


def test_a_number_weighs_as_many_as_the_minibatch_has_samples() -> None:
    loader = [(scored([0, 0, 0]), torch.tensor(5.0)), (scored([0]), torch.tensor(1.0))]
    assert evaluated(nn.Identity(), loader, lambda _output, targets: float(targets)) == 4
    assert evaluated(nn.Identity(), loader, lambda _output, targets: targets) == 4
    assert evaluated(nn.Identity(), loader, lambda output, targets: targets.expand(len(output))) == 4
    assert evaluated(nn.Identity(), loader, lambda _output, targets: targets.expand(1)) == 3


def test_a_loader_in_which_nothing_counts_is_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match="the metric counts nothing in the loader, as where all labels are -100; give"):
        evaluated(nn.Identity(), [(scored([1, 2]), torch.tensor([-100, -100]))], accuracy)
    with pytest.raises(InputError, match="the loader holds no minibatch"):
        evaluated(nn.Identity(), [], accuracy)
