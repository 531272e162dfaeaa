"""A checkpoint: all that training goes on from, in the model's own keys, so that any split can go on from it."""

import io
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from profiler.commands import command
from profiler.errors import FileError
from profiler.files import write_whole
from profiler.machine import uninterrupted
from runtime.errors import TrainingWarning

FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All that training goes on from.

    Attributes:
        digest: Of the model's structure.
        model: The model's ``state_dict``.
        buffers: Buffers that are not in it, by path.
        momenta: The tensors that the update rule keeps, each set by the keys of the parameters.
        counts: How many updates each parameter has had.
        rule: The update rule, in words.
        seed: What is random in layers is drawn from.
        minibatches: How many have been trained on; ``parts``, into how many they were cut; ``updates``, how many
            updates that were.
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
    parts: int
    updates: int
    epoch: int
    position: int
    generators: dict[str, Any]
    format_version: int = FORMAT_VERSION


def remedy() -> str:
    """Say what to name in the place of a file that is no checkpoint."""
    return f"name one that {command('train')} --checkpoint, or Pipeline.save, has written"


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` so that ``path`` holds either all of it or what it held before."""
    content = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    write_tensors(path, content, "--checkpoint")


def write_tensors(path: Path, content: Any, option: str) -> None:
    """Write tensors for ``torch.load``, whole or not at all; ``option`` names the place."""
    with uninterrupted():  # which torch's writer would make an error of its own, or lose
        write_whole(path, lambda file: _save_to(file, content), option)


class _Sink:
    """A file that torch writes to, which keeps to itself what goes wrong: torch would make another error of it.

    Attributes:
        error: What the error said that the file raised first, without a traceback, which would hold the weights;
            nothing is written after it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: tuple[Any, ...] = ()

    def write(self, data: bytes) -> int:
        try:
            return len(data) if self.error else self._file.write(data)
        except OSError as error:
            self.error = error.args
            return len(data)

    def flush(self) -> None:
        """Leave that to who has opened the file."""


def _save_to(file: BinaryIO, content: Any) -> None:
    sink = _Sink(file)
    torch.save(content, cast("BinaryIO", sink))  # which needs nothing else of a file
    if sink.error:
        raise OSError(*sink.error)


def written_anywhere(path: Path, write: Callable[[Path], None]) -> Path:
    """Write what must not be lost to ``path`` or, with a warning, to a new folder of temporary files; return where."""
    try:
        write(path)
    except FileError as error:
        other = Path(tempfile.mkdtemp(prefix="stageplan-")) / path.name
        try:
            write(other)
        except FileError:
            shutil.rmtree(other.parent, ignore_errors=True)
            raise error from None
        warnings.warn(f"{error}; it is in {other} for now", TrainingWarning, stacklevel=2)
        return other
    return path


def read_checkpoint(path: Path, content: bytes | None = None) -> Checkpoint:
    """Read a checkpoint, from ``content`` where that is what the file holds on another host."""
    whole = checkpoint_bytes(path) if content is None else content
    try:
        values = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
    except Exception as error:
        raise FileError(f"{path} is no whole checkpoint ({type(error).__name__}); {remedy()}") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if type(version) is int and version != FORMAT_VERSION:
        raise FileError(
            f"{path} is a checkpoint of format {version}, and this version reads format {FORMAT_VERSION}; train anew"
        )
    if type(version) is not int or values.keys() != {field.name for field in fields(Checkpoint)}:
        raise FileError(f"{path} is no checkpoint, though torch can read it; {remedy()}")
    return Checkpoint(**values)


def checkpoint_bytes(path: Path) -> bytes:
    """Return what a checkpoint's file holds."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; {remedy()}") from error


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
    kept = (name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached)
    np.random.set_state(kept)  # noqa: NPY002 - the generator that loaders use
