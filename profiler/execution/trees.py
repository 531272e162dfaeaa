"""Trees of values: what models take and return, in tuples, lists, mappings and dataclasses."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any


class Leaf:
    """A dataclass of ours that stands in trees in the place of a tensor."""

    __slots__ = ()


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return a tree of the same shape and classes with what ``function`` makes of each leaf.

    Mappings and dataclasses are copies of what they were, whose items and fields are set anew.
    """
    return map_named(lambda _name, leaf: function(leaf), tree)


def map_named(function: Callable[[str, Any], Any], tree: Any, name: str = "") -> Any:
    """Do as ``map_tree``; ``function`` is told each leaf's name, too: its keys, dots between."""

    def within(key: Any, item: Any) -> Any:
        return map_named(function, item, f"{name}.{key}" if name else str(key))

    if isinstance(tree, MutableMapping):  # before dataclasses, for some of transformers are both, and keep in step
        mapping = copy.copy(tree)
        for key, item in tree.items():
            mapping[key] = within(key, item)
        return mapping
    if dataclasses.is_dataclass(tree) and not isinstance(tree, (type, Leaf)):
        record = copy.copy(tree)
        for field in dataclasses.fields(tree):
            object.__setattr__(record, field.name, within(field.name, getattr(tree, field.name, None)))
        return record
    if isinstance(tree, Mapping):
        return {key: within(key, item) for key, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(within(key, item) for key, item in zip(tree._fields, tree, strict=True)))
    if isinstance(tree, (tuple, list)):
        made = [within(key, item) for key, item in enumerate(tree)]
        return made if isinstance(tree, list) else tuple(made)
    return function(name, tree)


def tree_leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a tree with their names."""
    found: list[tuple[str, Any]] = []
    map_named(lambda name, leaf: found.append((name, leaf)), tree)
    yield from found
