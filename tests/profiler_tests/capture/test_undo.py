"""What a forward does to a model is undone, however deep it lies."""

import copy
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from profiler.capture import untouched


def held() -> dict[str, Any]:
    return {
        "list": [1, [2, [3]], {"a": [4]}],
        "dict": {"a": {"b": {1, 2}}, "c": ([5], 6)},
        "tuple": ([1], {"a": 1}, (2, [3])),
        "set": {1, 2},
        "deque": deque([[1], 2, 3], maxlen=3),
        "ordered": OrderedDict([("z", [1]), ("a", 2)]),
        "default": defaultdict(list, a=[1]),
        "counter": Counter("aab"),
        "tensors": [torch.ones(2), {"a": torch.zeros(3)}],
    }


def change(value: Any) -> None:
    """Change all that can be changed in a value, the deepest first."""
    if isinstance(value, Tensor):
        value.add_(1)
    elif isinstance(value, dict):
        for item in list(value.values()):
            change(item)
        value.pop(next(iter(value)))
        value["new"] = 9
    elif isinstance(value, (list, tuple, deque)):
        for item in value:
            change(item)
        if not isinstance(value, tuple):
            value.reverse()
            value.append(9)
    elif isinstance(value, set):
        value.clear()


def places(value: Any) -> list[int]:
    """Return which objects a value is made of, from the outside to the inside."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple, deque)) else ()
    return [id(value), *(place for item in items for place in places(item))]


class Keeps(nn.Module):
    """A module that keeps something in plain Python."""

    def __init__(self, kept: Any) -> None:
        super().__init__()
        self.kept: Any = kept


@pytest.mark.parametrize("name", held())
def test_whatever_changes_in_what_a_module_keeps_is_undone_in_its_place(name: str) -> None:
    value = held()[name]
    own = Keeps(value)
    before, where = copy.deepcopy(value), places(value)
    with untouched(nn.Sequential(own)):
        change(own.kept)
        own.kept = None
    assert own.kept is value
    assert repr(value) == repr(before)
    assert type(value) is type(before)
    assert places(value) == where


def test_tensors_that_cannot_be_compared_are_restored_too() -> None:
    own = Keeps([torch.eye(2).to_sparse(), torch.empty(2, device="meta")])
    with untouched(own):
        own.kept[0].mul_(2)
    assert torch.equal(own.kept[0].to_dense(), torch.eye(2))
