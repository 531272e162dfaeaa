from pathlib import Path

import pytest
import torch

from profiler.capture.models import build
from profiler.errors import ModelError


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (build("squeezenet1_1", 10, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet5O", "did you mean 'resnet50'"),
        ("small_models:Nothing", "cannot find 'Nothing'"),
        ("small_models:not_a_module", "returned a int"),
        ("small_models:leaves", "raised SystemExit: 0"),
        ("small_models:two_lines", "raised ValueError: no such file; it has to"),
        (":", "names no factory"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_sentence(name: str, words: str) -> None:
    with pytest.raises(ModelError) as refused:
        build(name, 10, 0)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_factory_that_hands_out_one_module_gets_a_copy_each_time() -> None:
    first, second = (build("small_models:always_the_same", 10, 0) for _ in range(2))
    assert first is not second


def test_an_import_that_draws_does_not_change_the_weights(in_folder: Path) -> None:
    """A module is imported once in a process, and the model is built more than once."""
    source = "import torch\ntorch.rand(7)\ndef make():\n    return torch.nn.Linear(2, 2)\n"
    (in_folder / "draws_when_imported.py").write_text(source)
    first, again = (build("draws_when_imported:make", 2, seed=0).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
