"""Read minibatches from any iterable of pairs (inputs, targets), and refuse what the model cannot be trained on."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from profiler.capture import laid_out, pair_of
from profiler.errors import ModelError, StageplanError, one_line
from profiler.execution import (
    IGNORED,
    Captured,
    CrossEntropy,
    OwnLoss,
    TensorSpec,
    model_loss,
    spec_of,
)
from profiler.profile import INPUT
from profiler.report import counted
from runtime.errors import InputError, NoMinibatchError
from runtime.pipeline.reader_thread import NO_MORE, PATIENCE_S, ReaderThread, blaming_loader
from runtime.worker import Checksums

_OWN_LOSS = (
    "loss=torch.nn.functional.cross_entropy, say, or loss: torch.nn.functional:cross_entropy in a configuration file"
)


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a loader from minibatch ``first`` on; messages count as the loader does."""

    minibatches: Iterator[Any]
    first: int

    def __iter__(self) -> Iterator[Any]:
        """Return the minibatches."""
        return self.minibatches


class Reader:
    """Reads minibatches from an iterable, checked as they come, in a thread of its own.

    Attributes:
        name: What to call it, as in "the data of 'digits:train'".
        count: How many it has read.
        cut: Whether each minibatch is an update, and is cut into parts.
    """

    def __init__(
        self, iterable: Any, captured: Captured, name: str, *, cut: bool = False, compared: bool = True,
        patience_s: float = PATIENCE_S, thread: ReaderThread | None = None,
    ) -> None:  # fmt: skip
        """Prepare to iterate, which begins with the first minibatch that is wanted.

        Args:
            iterable: What yields the minibatches, such as a DataLoader.
            captured: The model that is trained on them.
            name: What to call it.
            cut: Whether each minibatch is an update, and is cut into parts of the captured minibatch's size at most.
            compared: Whether to keep checksums.
            patience_s: How long a minibatch may take.
            thread: What calls it; None: one of its own.
        """
        self._captured, self.name, self.cut, self._compared = captured, name, cut, compared
        self._batch_norm = _batch_norm_of(captured)
        self.count = 0
        self._first = iterable.first if isinstance(iterable, Rest) else 0
        self._checksums: list[int] = []
        self._peeked: list[tuple[Tensor, Tensor] | None] = []
        self._target: TensorSpec | None = None
        self._iterable, self._patience_s = iterable, patience_s
        self._iterator: Iterator[Any] | None = None
        self.thread = thread or ReaderThread()

    def ready(self, longest_s: float = math.inf) -> bool:
        """Say whether the next pair can be read without waiting; it is asked for, if it has not been."""
        if self._peeked:
            return True
        self.thread.ask(self._next)
        if self.thread.answered():
            return True
        self.thread.refuse_to_wait(min(longest_s, self._patience_s), self._awaited)
        return False

    def read(self) -> tuple[Tensor, Tensor] | None:
        """Return the next pair, the inputs laid out as layers run fastest on them; None at the end."""
        if self._peeked:
            return self._peeked.pop()
        pair: tuple[Tensor, Tensor] | None = self.thread.call(self._next, self._patience_s, self._awaited)
        return pair

    def close(self) -> None:
        """Let go of the iterable, and with it of a loader's processes."""
        self._iterator = self._iterable = None

    def parts_of(self, samples: int) -> int:
        """Return into how many parts a minibatch of so many samples is cut; 1 where it stays whole."""
        return -(-samples // self._captured.specs[INPUT].shape[0]) if self.cut else 1

    @property
    def _awaited(self) -> str:
        return f"minibatch {self._first + self.count} of {self.name}"

    def _begun(self) -> Iterator[Any]:
        try:
            return iter(self._iterable)
        except StageplanError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            raise InputError(
                f"{self.name} are a {type(self._iterable).__name__}, which cannot be iterated ({type(error).__name__}: "
                f"{one_line(error)}); pairs (inputs, targets) are wanted, as a DataLoader yields them"
            ) from error

    def _next(self) -> tuple[Tensor, Tensor] | None:
        if self._iterator is None:
            self._iterator = self._begun()
        number = self._first + self.count
        with blaming_loader(self.name, number):
            minibatch = next(self._iterator, NO_MORE)
            if minibatch is NO_MORE:
                return None
            inputs, targets = self._checked(minibatch, f"{self.name} at minibatch {number}")
            if self._compared:
                self._checksums.append(_checksum(inputs, targets))
        self.count += 1
        return inputs, targets

    @property
    def checksums(self) -> Checksums:
        """Checksums of the minibatches that were read, if two readings are to be compared."""
        return tuple(self._checksums)

    def target_spec(self) -> TensorSpec:
        """Return what the targets of a whole minibatch look like, by the first minibatch, which is read for it."""
        pair = self.read()
        if pair is None:
            raise NoMinibatchError(f"{self.name} hold no minibatch; nothing can be trained on them")
        self._peeked.append(pair)
        whole = torch.empty(
            (self._captured.specs[INPUT].shape[0], *pair[1].shape[1:]), dtype=pair[1].dtype, device="meta"
        )
        return spec_of("targets", whole)

    @property
    def first_samples(self) -> int:
        """How many samples the first minibatch has, which has been read for what its targets look like."""
        return len(self._peeked[0][0]) if self._peeked and self._peeked[0] else 0

    def too_few(self, wanted: int) -> InputError:
        """Return the error that there are fewer minibatches than ``wanted``."""
        return InputError(
            f"{self.name} end after {self.count} of {wanted} minibatches; give fewer --batches, or more data"
        )

    def _pair(self, batch: Any, where: str) -> tuple[Tensor, Tensor]:
        """Return a minibatch's inputs as they travel, and its targets."""
        called, loss = self._captured.inputs, self._captured.loss
        if not called.packed:
            if not (isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(x, Tensor) for x in batch)):
                raise InputError(
                    f"{where} are a {type(batch).__name__}; each has to be a pair of tensors (inputs, targets), as "
                    "((batch['x'], batch['y']) for batch in loader) yields them"
                )
            return batch[0], batch[1]
        try:
            given, targets = pair_of(batch)
            inputs = called.pack(given)
        except ModelError as error:
            raise InputError(f"{where}: {error}") from error
        if targets is None and not (isinstance(loss, OwnLoss) and loss.function is model_loss):
            raise InputError(
                f"{where} have no targets; give pairs (inputs, targets), or train on the loss that the model returns: "
                'loss="model"'
            )
        return inputs, torch.zeros(len(inputs), dtype=torch.int64) if targets is None else targets

    def _checked(self, batch: Any, where: str) -> tuple[Tensor, Tensor]:
        inputs, targets = self._pair(batch, where)
        for what, tensor in (("inputs", inputs), ("targets", targets)):
            if tensor.device.type != "cpu":
                raise InputError(f"{where} have {what} on {tensor.device}; stages run on the CPU: use {what}.cpu()")
        self._refuse_inputs(inputs, where)
        if targets.dim() < 1 or len(targets) != len(inputs):
            raise InputError(
                f"{where} have targets {tuple(targets.shape)} for {counted(len(inputs), 'sample')}; give as many"
            )
        if isinstance(self._captured.loss, CrossEntropy):
            _refuse_labels(targets, (len(inputs), *self._captured.labels[1:]), self._captured.classes, where)
        like = targets[:0]
        if self._target is None:
            self._target = spec_of("targets", like)
        elif (self._target.shape, self._target.dtype) != (tuple(like.shape), like.dtype):
            raise InputError(
                f"{where} have targets {tuple(targets.shape)} of {targets.dtype}, unlike those before; one shape and "
                "type is wanted"
            )
        return laid_out(inputs.detach()), targets.detach()

    def _refuse_inputs(self, inputs: Tensor, where: str) -> None:
        """Refuse inputs that are not those of the plan, or too few."""
        spec = self._captured.specs[INPUT]
        if inputs.dim() and not len(inputs):
            raise InputError(f"{where} have no sample; leave empty minibatches out")
        fits = inputs.dim() == len(spec.shape) and inputs.shape[1:] == spec.shape[1:]
        if not fits or (len(inputs) > spec.shape[0] and not self.cut) or inputs.dtype != spec.dtype:
            raise InputError(
                f"{where} have inputs {tuple(inputs.shape)} of {inputs.dtype}, and the plan is for {spec.shape} of "
                f"{spec.dtype} or fewer samples; plan for that shape, or change the data"
            )
        parts = self.parts_of(len(inputs))
        if len(inputs) // parts == 1 and self._batch_norm:
            which = "have a single sample" if parts == 1 else f"have {len(inputs)} samples, cut into {parts} parts"
            raise InputError(
                f"{where} {which}, and the batch norm {self._batch_norm} needs more than one to train on; "
                "leave it out, with drop_last=True in a DataLoader"
            )


def _batch_norm_of(captured: Captured) -> str:
    """Return a batch norm that has one value of each channel in a sample, so a single sample has no variance."""
    for operation in captured.operations:
        if isinstance(operation.target, nn.modules.batchnorm._BatchNorm) and operation.target.training:  # noqa: SLF001
            samples, channels, *sides = captured.specs[operation.name].shape
            if samples > 1 and math.prod(sides) == 1 and channels:
                return operation.name
    return ""


def _refuse_labels(labels: Tensor, shape: tuple[int, ...], classes: int, where: str) -> None:
    if tuple(labels.shape) != shape or labels.dtype != torch.int64:
        raise InputError(
            f"{where} have labels {tuple(labels.shape)} of {labels.dtype}; whole numbers (torch.int64) of shape "
            f"{shape} are wanted, or a loss of your own, which takes any targets: {_OWN_LOSS}"
        )
    counting = labels[labels != IGNORED]
    if len(counting) and not 0 <= int(counting.min()) <= int(counting.max()) < classes:
        raise InputError(
            f"{where} have labels from {int(counting.min())} to {int(counting.max())}, and the model has {classes} "
            f"classes; labels go from 0 to {classes - 1}, and {IGNORED} leaves one out"
        )


def _checksum(inputs: Tensor, targets: Tensor) -> int:
    """Return the checksum of targets and first sample: what another order changes, at next to no cost."""
    checksum = 0
    for tensor in (inputs[:1], targets):
        checksum = zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data, checksum)
    return checksum


def refuse_other_data(name: str, ours: Checksums, theirs: Checksums) -> None:
    """Refuse data of which two readings were different, as far as both have come."""
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            raise InputError(
                f"{name} differ from one reading to the next at minibatch {number}; shuffle only with the global "
                "seeded generators of torch, Python or numpy"
            )
