"""The minibatches that a run trains on: seeded synthetic ones, made before the clock starts, or the user's own.

Labels do not travel through the stages: the first stage takes the inputs from a feed of its own, the last one the
labels. So a loader has to yield the same minibatches in the same order wherever it is made; torch's, Python's and
numpy's generators are seeded before it is, and torch's anew for every minibatch.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from profiler.capture import inputs_of, laid_out, made
from profiler.errors import one_line
from runtime.errors import InputError

POOL = 16
"""How many different synthetic minibatches a run has; minibatch b uses the data of b mod ``POOL``."""

_INPUTS, _LABELS = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Which data a run trains on.

    Attributes:
        factory: ``package.module:factory``, which returns an iterable of pairs (inputs, labels); synthetic without one.
        shape: Of a minibatch's inputs, the minibatch included.
        dtype: Of its inputs.
        vocabulary: Inputs are whole numbers below it; 0 for floats.
    """

    factory: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    vocabulary: int
    classes: int
    minibatches: int
    seed: int


class Feed(Protocol):
    """Hands out minibatches 0, 1, 2, … in this order; one may be asked for again.

    Attributes:
        checksums: One for each minibatch that came from a loader, to compare two that ought to be the same.
    """

    checksums: list[int]

    def prepare(self, *, inputs: bool, labels: bool) -> None:
        """Make what can be made before the run."""

    def inputs(self, minibatch: int) -> Tensor:
        """Return the inputs of a minibatch, ``(N, …)``."""

    def labels(self, minibatch: int) -> Tensor:
        """Return the labels of a minibatch, ``(N,)``."""


def feed_of(spec: DataSpec) -> Feed:
    """Return the feed.

    Raises:
        ModelError: The user's factory cannot be found or raises.
        InputError: It does not return what can be iterated.
    """
    return Loader(spec) if spec.factory else Synthetic(spec)


class Synthetic:
    """Minibatches drawn from a seed, each when it is first asked for or prepared."""

    def __init__(self, spec: DataSpec) -> None:
        """Nothing is made yet."""
        self._spec = spec
        self.checksums: list[int] = []
        self._made: dict[tuple[int, int], Tensor] = {}

    def prepare(self, *, inputs: bool, labels: bool) -> None:
        """Make the whole pool."""
        for minibatch in range(min(POOL, self._spec.minibatches)):
            if inputs:
                self.inputs(minibatch)
            if labels:
                self.labels(minibatch)

    def inputs(self, minibatch: int) -> Tensor:
        """Return the inputs of a minibatch."""
        spec = self._spec
        key = minibatch % POOL, _INPUTS
        if key not in self._made:
            self._made[key] = inputs(spec.seed, minibatch, spec.shape, spec.vocabulary)
        return self._made[key]

    def labels(self, minibatch: int) -> Tensor:
        """Return the labels of a minibatch."""
        spec = self._spec
        key = minibatch % POOL, _LABELS
        if key not in self._made:
            self._made[key] = labels(spec.seed, minibatch, spec.shape[0], spec.classes)
        return self._made[key]


class Loader:
    """Minibatches of the user's own factory, checked as they come."""

    def __init__(self, spec: DataSpec) -> None:
        """Make the iterable and start on it.

        Raises:
            ModelError: The factory cannot be found or raises.
            InputError: What it returns cannot be iterated.
        """
        self._spec, self._at = spec, -1
        self.checksums: list[int] = []
        iterable = made(spec.factory, spec.seed)
        if getattr(iterable, "num_workers", 0):
            raise InputError(
                f"the data factory '{spec.factory}' returned a {type(iterable).__name__} with {iterable.num_workers} "
                "worker processes; a stage is one process on one core: use num_workers=0"
            )
        try:
            self._iterator: Iterator[Any] = iter(iterable)
        except Exception as error:
            raise InputError(
                f"the data factory '{spec.factory}' returned a {type(iterable).__name__}, which cannot be iterated "
                f"({type(error).__name__}: {one_line(error)}); it has to return pairs (inputs, labels), as a "
                "DataLoader does"
            ) from error
        self._pair: tuple[Tensor, Tensor] | None = None

    def prepare(self, *, inputs: bool, labels: bool) -> None:
        """Do nothing: the user's data are read as the run needs them."""

    def inputs(self, minibatch: int) -> Tensor:
        """Return the inputs of a minibatch.

        Raises:
            InputError: The loader raises, has ended, or yields something else.
        """
        return self._take(minibatch)[0]

    def labels(self, minibatch: int) -> Tensor:
        """Return the labels of a minibatch.

        Raises:
            InputError: The loader raises, has ended, or yields something else.
        """
        return self._take(minibatch)[1]

    def _take(self, minibatch: int) -> tuple[Tensor, Tensor]:
        while self._at < minibatch or self._pair is None:
            self._at += 1
            # Layers that draw seed this generator too; what the loader draws must not depend on them.
            torch.manual_seed((self._spec.seed << 20) + self._at)
            self._pair = self._checked(self._next())
            self.checksums.append(_checksum(*self._pair))
        return self._pair

    def _next(self) -> Any:
        spec = self._spec
        try:
            return next(self._iterator)
        except StopIteration as error:
            raise InputError(
                f"the data of '{spec.factory}' end after {self._at} of {spec.minibatches} minibatches; give fewer "
                "--batches, or more data"
            ) from error
        except Exception as error:
            raise InputError(
                f"the data of '{spec.factory}' raised {type(error).__name__} at minibatch {self._at}: {one_line(error)}"
            ) from error

    def _checked(self, pair: Any) -> tuple[Tensor, Tensor]:
        spec = self._spec
        where = f"the data of '{spec.factory}' at minibatch {self._at}"
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)):
            raise InputError(f"{where} are a {type(pair).__name__}; each has to be a pair of tensors (inputs, labels)")
        images, labels = pair
        fits = images.dim() == len(spec.shape) and images.shape[1:] == spec.shape[1:]
        if not fits or not 1 <= images.shape[0] <= spec.shape[0] or images.dtype != spec.dtype:
            raise InputError(
                f"{where} have inputs {tuple(images.shape)} of {images.dtype}, and the plan is for {spec.shape} of "
                f"{spec.dtype} or fewer samples; plan for that shape, or change the data"
            )
        if self._at == 0 and images.shape[0] < spec.shape[0]:
            raise InputError(
                f"{where} have {images.shape[0]} samples, and the plan is for {spec.shape[0]}; only later ones may "
                f"have fewer: plan with --batch-size {images.shape[0]}, or change the data"
            )
        if labels.shape != images.shape[:1] or labels.is_floating_point():
            raise InputError(
                f"{where} have labels {tuple(labels.shape)} of {labels.dtype}; whole numbers of shape {(len(images),)} "
                "are wanted"
            )
        if not 0 <= int(labels.min()) <= int(labels.max()) < spec.classes:
            raise InputError(
                f"{where} have labels from {int(labels.min())} to {int(labels.max())}, and the model has "
                f"{spec.classes} classes; labels go from 0 to {spec.classes - 1}"
            )
        return laid_out(images), labels


def refuse_other_data(spec: DataSpec, ours: Sequence[int], theirs: Sequence[int]) -> None:
    """Refuse a loader of which two processes got different minibatches.

    Raises:
        InputError: They did; the message names the first.
    """
    for minibatch, (own, other) in enumerate(zip(ours, theirs, strict=False)):
        if own != other:
            raise InputError(
                f"the data of '{spec.factory}' differ from process to process at minibatch {minibatch}; inputs and "
                "labels are read in different stages, each from a loader of its own, so shuffle only with the global "
                "seeded generators of torch, Python or numpy"
            )


def _checksum(images: Tensor, labels: Tensor) -> int:
    """Return a checksum of the labels and the first sample: what another order changes, at next to no cost."""
    first = images[:1].contiguous().view(torch.uint8)
    return zlib.crc32(labels.contiguous().numpy().tobytes(), zlib.crc32(first.numpy().tobytes()))


def inputs(seed: int, minibatch: int, shape: Sequence[int], vocabulary: int = 0) -> Tensor:
    """Return the synthetic inputs of a minibatch."""
    return inputs_of(shape, vocabulary, _generator(seed, minibatch, _INPUTS))


def labels(seed: int, minibatch: int, batch_size: int, classes: int) -> Tensor:
    """Return the synthetic labels of a minibatch, ``(N,)``."""
    return torch.randint(classes, (batch_size,), generator=_generator(seed, minibatch, _LABELS))


def _generator(seed: int, minibatch: int, what: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * POOL + minibatch % POOL) * 2 + what)
