"""Layers in blocks against the layers whole: what they compute, what depends on what, and what is refused."""

from itertools import pairwise

import networkx as nx
import pytest
import small_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import SHAPE, build, captured_of
from torch import nn

from profiler.capture import laid_out, sliceable, sliced_model
from profiler.capture.layer_graph import capture
from profiler.errors import ConfigError
from profiler.execution import Captured, part_names
from profiler.profile import INPUT, Pieces, Slicing, slicing_of

KINDS = [small_models.Residual, small_models.Plain, small_models.Tied, small_models.Heads, small_models.LastInPlace]


@st.composite
def slicings(draw: st.DrawFn) -> tuple[Captured, dict[str, Pieces]]:
    """A small model, and one or two of its layers with their blocks."""
    captured = captured_of(draw(st.sampled_from(KINDS)))
    can = [name for name, (_, reason) in sliceable(captured).items() if not reason]
    chosen = draw(st.lists(st.sampled_from(can), min_size=1, max_size=2, unique=True))
    return captured, {name: draw(_pieces(sliceable(captured)[name][0])) for name in chosen}


def _pieces(features: int) -> "st.SearchStrategy[Pieces]":
    """Two blocks or more, of features that add up."""
    cuts = st.sets(st.integers(1, features - 1), min_size=1, max_size=4)
    return cuts.map(lambda places: tuple(b - a for a, b in pairwise([0, *sorted(places), features])))


@settings(deadline=None, max_examples=30)
@given(slicings())
def test_a_sliced_model_computes_what_the_whole_one_does_and_has_its_state(
    chosen: tuple[Captured, dict[str, Pieces]],
) -> None:
    captured, counts = chosen
    sliced = sliced_model(captured, slicing_of(counts))
    x = torch.randn(SHAPE)
    torch.manual_seed(0)
    before = captured.model.eval()(x)
    after = sliced.model.eval()(x)
    for ours, theirs in zip(_tensors(after), _tensors(before), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    whole = captured.model.state_dict()
    assert set(sliced.model.state_dict()) == set(whole)
    assert all(torch.equal(tensor, whole[key]) for key, tensor in sliced.model.state_dict().items())
    other = {key: torch.full_like(tensor, at) for at, (key, tensor) in enumerate(whole.items(), 1)}
    sliced.model.load_state_dict({key: other[captured.canonical.get(key, key)] for key in other}, strict=True)
    for key, tensor in sliced.model.state_dict().items():
        assert torch.equal(tensor, other[captured.canonical.get(key, key)])
    learned = sum(parameter.numel() for parameter in sliced.model.parameters())
    assert learned == sum(parameter.numel() for parameter in captured.model.parameters())


def _tensors(found: object) -> list[torch.Tensor]:
    return [leaf for leaf in (found if isinstance(found, tuple) else (found,)) if isinstance(leaf, torch.Tensor)]


@settings(deadline=None, max_examples=30)
@given(slicings())
def test_blocks_keep_every_dependence_and_stand_in_a_chain(
    chosen: tuple[Captured, dict[str, Pieces]],
) -> None:
    captured, counts = chosen
    sliced = sliced_model(captured, slicing_of(counts))
    before, after = _graph(captured), _graph(sliced)
    assert nx.is_directed_acyclic_graph(after)
    for first in before:
        for second in nx.descendants(before, first):
            last = part_names(first, len(counts[first]))[-1] if first in counts else first
            blocks = part_names(second, len(counts[second]))[:-1] if second in counts else [second]
            assert all(block in nx.descendants(after, last) for block in blocks)
    for layer, pieces in counts.items():
        parts = part_names(layer, len(pieces))
        assert all(nx.has_path(after, a, b) for a, b in pairwise(parts))
    assert sliced.digest == captured.digest
    assert {op.index for op in sliced.operations} == {op.index for op in captured.operations}


def _graph(captured: Captured) -> "nx.DiGraph[str]":
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(captured.layer_names)
    graph.add_edges_from((edge.source, edge.target) for edge in captured.edges if edge.source != INPUT)
    return graph


class Odd(nn.Module):
    """Layers that cannot be cut, each for a reason of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)
        self.stem = nn.Conv2d(3, 4, 1)
        self.flatten = nn.Flatten()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.twice = nn.Linear(16, 16)
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.read = nn.Linear(16, 16)
        self.narrow = nn.Linear(1024, 1)
        self.fc = nn.Linear(1, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.grouped(self.stem(x)).reshape(-1, 64, 16)
        x = self.attention(x, x, x)[0]
        x = self.second(self.first(self.twice(self.twice(x))))
        x = self.read(x) * self.read.bias
        result: torch.Tensor = self.fc(self.narrow(self.flatten(x)))
        return result


def test_every_layer_that_cannot_be_cut_says_why() -> None:
    captured = capture(build(Odd), "odd", laid_out(torch.zeros(SHAPE)))
    why = {name: reason for name, (_, reason) in sliceable(captured).items()}
    assert why["stem"] == why["fc"] == ""
    assert "in 2 groups" in why["grouped"]
    assert "only linear layers and convolutions" in why["attention"]
    assert why["twice"] == why["first"] == why["second"] == why["read"] == "its parameters are shared"
    assert why["narrow"] == "it has one output feature"


@pytest.mark.parametrize(
    ("slicing", "words"),
    [
        ("sten=2", "there is no layer 'sten' to slice (did you mean 'stem'?)"),
        ("stem=9", "stem has 4 output features and cannot be cut into 9 blocks"),
        ("twice=2", "twice cannot be sliced: its parameters are shared"),
        ("stem=1", "stem cannot be cut into 1 blocks; name 2 or more"),
        ("stem", "'stem' in the slicing 'stem' is no layer with its blocks"),
        ("stem=2,stem=4", "names stem twice"),
        (f"stem={'9' * 5000}", "is no layer with its blocks"),
        ("stem=4+0", "stem cannot be cut into 4+0 blocks"),
        ("stem=3+2", "stem has 4 output features, and its blocks 5; make them equal"),
    ],
)
def test_what_cannot_be_done_is_refused(slicing: str, words: str) -> None:
    captured = capture(build(Odd), "odd", laid_out(torch.zeros(SHAPE)))
    with pytest.raises(ConfigError) as caught:
        sliced_model(captured, Slicing(slicing))
    assert words in str(caught.value)
