"""Digests of tensors: equal if and only if every bit is, so that two processes can compare what they hold."""

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def digest_of_all(tensors: Iterable[Tensor]) -> str:
    """Return the sha256 of all elements of some tensors, one after the other."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(_bytes(tensor))
    return total.hexdigest()


def digest_of_state(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of all elements of named tensors, in the order of their names, whatever order they are in."""
    return digest_of_all(tensors[name] for name in sorted(tensors))


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return memoryview(flat.numpy())  # type: ignore[arg-type]  # an array is a buffer
