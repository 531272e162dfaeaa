"""A checkpoint: all that training goes on from, in the model's own keys, so that any split can go on from it."""

import io
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
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
_MOST = 1 << 62


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


def _remedy() -> str:
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
        raise FileError(f"{path} is no whole checkpoint ({type(error).__name__}); {_remedy()}") from error
    names = {field.name for field in fields(Checkpoint)}
    if not isinstance(values, dict) or type(values.get("format_version")) is not int:
        raise FileError(f"{path} is no checkpoint, though torch can read it; {_remedy()}")
    if values["format_version"] != FORMAT_VERSION:
        raise FileError(
            f"{path} is a checkpoint of format {values['format_version']}, and this version reads format "
            f"{FORMAT_VERSION}; train anew"
        )
    if missing := sorted(names - values.keys()):
        raise FileError(f"{path} is a checkpoint without its {missing[0]}; {_remedy()}")
    for odd in _odd_values(values):
        raise FileError(f"{path} is a checkpoint and {odd}; {_remedy()}")
    return Checkpoint(**{name: values[name] for name in names})


def _odd_values(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what in a checkpoint is not what it should be, or contradicts itself; the first may be the only one."""
    numbers = ("minibatches", "parts", "updates", "epoch", "position")
    if type(values["seed"]) is not int:
        yield "its seed is no whole number"
    for name in (name for name in numbers if type(values[name]) is not int or not 0 <= values[name] < _MOST):
        yield f"its {name} is no whole number from 0 up"
    if not all(isinstance(values[name], str) for name in ("digest", "rule")):
        yield "its digest or update rule is no text"
    sets = values["momenta"]
    if not isinstance(sets, list) or not all(map(_is_tensors, (*sets, values["model"], values["buffers"]))):
        yield "its weights, buffers or momenta are no tensors by name"
    counts = values["counts"]
    if not isinstance(counts, dict) or not all(type(count) is int and 0 <= count < _MOST for count in counts.values()):
        yield "it does not count the updates of each parameter"
    most = max(values["minibatches"], *counts.values(), 0)
    if values["updates"] > most:
        yield "it has more updates than minibatches"
    try:
        _restored(values["generators"], torch.Generator(), random.Random(), np.random.RandomState())  # noqa: S311
    except Exception as error:  # noqa: BLE001 - three libraries say in their own ways that they cannot read it
        yield f"the state of its generators is none ({type(error).__name__})"


def _is_tensors(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(tensor, Tensor) and not tensor.is_meta and tensor.layout == torch.strided
        for key, tensor in value.items()
    )


def checkpoint_bytes(path: Path) -> bytes:
    """Return what a checkpoint's file holds."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; {_remedy()}") from error


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
    _restored(states, torch.default_generator, random, np.random)


def _restored(states: Mapping[str, Any], of_torch: torch.Generator, of_python: Any, of_numpy: Any) -> None:
    """Bring some generators into these states; raises whatever they raise where one is none."""
    of_torch.set_state(states["torch"])
    version, words, gauss = states["python"]
    of_python.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    of_numpy.set_state((name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached))
