"""A checkpoint: all that training goes on from, in the model's own keys, so that any split can go on from it."""

import io
import random
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from profiler.errors import FileError, one_line
from profiler.files import unwritable, write_whole

FORMAT_VERSION = 1
_REMEDY = "name one that stageplan train --checkpoint, or Pipeline.save, has written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All that training goes on from.

    Attributes:
        digest: Of the model's structure.
        model: The model's ``state_dict``.
        buffers: Buffers that are not in it, by path.
        momenta: The tensors that the update rule keeps, each set by the keys of the parameters.
        counts: How many updates each parameter has had.
        rule: The kind of update rule.
        seed: What is random in layers is drawn from.
        minibatches: How many have been trained on; ``updates``, how many updates that were.
        epoch: How many epochs are complete, and ``position``, how many minibatches of the next one are trained.
        generators: The state of torch's, Python's and numpy's generators when that epoch began.
    """

    digest: str
    model: dict[str, Tensor]
    buffers: dict[str, Tensor]
    momenta: list[dict[str, Tensor]]
    counts: dict[str, int]
    rule: str
    seed: int
    minibatches: int
    updates: int
    epoch: int
    position: int
    generators: dict[str, Any]
    format_version: int = FORMAT_VERSION


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` so that ``path`` holds either all of it or what it held before.

    Raises:
        FileError: It cannot be written.
    """
    write_tensors(path, {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)})


def write_tensors(path: Path, content: Any) -> None:
    """Write tensors for ``torch.load``, whole or not at all.

    Raises:
        FileError: They cannot be written.
    """
    try:
        write_whole(path, lambda file: torch.save(content, file))
    except RuntimeError as error:  # as torch tells of a disk that is full
        raise unwritable(path, one_line(error), "make room, or give another place") from error


def read_checkpoint(path: Path, content: bytes | None = None) -> Checkpoint:
    """Read a checkpoint, from ``content`` where that is what the file holds on another host.

    Raises:
        FileError: There is none, it is torn, or of another format.
    """
    whole = checkpoint_bytes(path) if content is None else content
    try:
        found = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
    except Exception as error:
        raise FileError(f"{path} is no whole checkpoint ({type(error).__name__}); {_REMEDY}") from error
    names = {field.name for field in fields(Checkpoint)}
    if not isinstance(found, dict) or "format_version" not in found:
        raise FileError(f"{path} is no checkpoint, though torch can read it; {_REMEDY}")
    if found["format_version"] != FORMAT_VERSION or not names <= found.keys():
        raise FileError(
            f"{path} is a checkpoint of format {found['format_version']}, and this version reads format "
            f"{FORMAT_VERSION}; train anew"
        )
    return Checkpoint(**{name: found[name] for name in names})


def checkpoint_bytes(path: Path) -> bytes:
    """Return what a checkpoint's file holds.

    Raises:
        FileError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; {_REMEDY}") from error


def generators() -> dict[str, Any]:
    """Return the state of torch's, Python's and numpy's generators, which loaders shuffle with."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the generator that loaders use
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *map(float, rest)],
    }


def restore(states: dict[str, Any]) -> None:
    """Bring these generators into the states that ``generators`` returned."""
    torch.set_rng_state(states["torch"])
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached))  # noqa: NPY002
