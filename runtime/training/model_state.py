"""Translate between what stages hold and the model's own terms: the plain model, its ``state_dict``, checkpoints."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from profiler.execution import Captured, count_name, moment_name
from runtime.errors import InputError
from runtime.pipeline import from_model_keys, own_key, to_model_keys, without_tensors
from runtime.training.checkpoint import Checkpoint
from runtime.worker import Settings

Tensors = dict[str, Tensor]
"""What stages hold, by path: parameters and buffers, and where training goes on, momenta and counts."""


class ModelState:
    """The model of a pipeline without what its tensors hold, plain and as it was captured."""

    def __init__(self, model: nn.Module, captured: Captured, settings: Settings) -> None:
        """Keep the shapes of the model as it was given, and of what was captured of a copy."""
        self._plain = without_tensors(model, [*model.parameters(), *model.buffers()])
        own = [*captured.model.parameters(), *captured.model.buffers()]
        self._captured, self._settings = without_tensors(captured, own), settings

    def plain_model(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        """Return the model as it was given, on the CPU, with the parameters and buffers in ``tensors``."""
        model = copy.deepcopy(self._plain).to_empty(device="cpu")
        keys = to_model_keys(self._captured, tensors)
        model.load_state_dict(keys)
        with torch.no_grad():
            for path, buffer in model.named_buffers():
                if path not in keys:
                    buffer.copy_(tensors[self._captured.canonical[path]])
        return model

    def tensors_of(self, state: Mapping[str, Tensor], name: str) -> Tensors:
        """Return what a ``state_dict``, which is called ``name``, holds as stages have it."""
        model = copy.deepcopy(self._plain).to_empty(device="cpu")
        try:
            model.load_state_dict(dict(state))
        except (RuntimeError, TypeError, AttributeError) as error:
            raise InputError(f"{name} does not fit {self._captured.name}: {_differences(error)}") from error
        return self._laid_out(from_model_keys(self._captured, model.state_dict()))

    def checkpoint(self, tensors: Mapping[str, Tensor], **progress: Any) -> Checkpoint:
        """Return a checkpoint of ``tensors``; ``progress`` are its fields about how far training is."""
        captured, model = self._captured, self.plain_model(tensors)
        keys = model.state_dict()
        learning = [path for path in captured.learning if count_name(path) in tensors]
        return Checkpoint(
            digest=captured.digest,
            model={key: tensor.detach() for key, tensor in keys.items()},
            buffers={path: buffer for path, buffer in model.named_buffers() if path not in keys},
            momenta=[
                to_model_keys(captured, {path: tensors[moment_name(path, number)] for path in learning})
                for number in range(self._settings.rule.momenta if learning else 0)
            ],
            counts={own_key(captured, path): int(tensors[count_name(path)]) for path in learning},
            rule=self._settings.rule.kind,
            seed=self._settings.seed,
            **progress,
        )

    def resumed(self, checkpoint: Checkpoint, path: Path) -> Tensors:
        """Return what a checkpoint, which was read from ``path``, holds as stages have it."""
        rule, seed = self._settings.rule, self._settings.seed
        if checkpoint.digest != self._captured.digest:
            raise InputError(f"{path} is a checkpoint of another model than this {self._captured.name}; name one of it")
        if checkpoint.rule != rule.kind:
            raise InputError(f"{path} was trained with {checkpoint.rule:s} and this is {rule.kind}; go on with "
                             "the same kind of rule, whose numbers may be others")  # fmt: skip
        if checkpoint.seed != seed:
            raise InputError(f"{path} was trained with seed {checkpoint.seed:d} and this has {seed}; use the same")
        tensors = self.tensors_of(checkpoint.model, str(path)) | self._laid_out(checkpoint.buffers)
        learning = self._captured.learning if checkpoint.counts else []  # nothing was trained before it was written
        if len(checkpoint.momenta) != (rule.momenta if learning else 0):
            raise ValueError(f"it has {len(checkpoint.momenta)} tensors for each weight")
        numbers = (checkpoint.minibatches, checkpoint.parts, checkpoint.updates, checkpoint.epoch, checkpoint.position)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError(f"it says it is at {numbers}")
        for number, momenta in enumerate(checkpoint.momenta):
            moments = self._laid_out(from_model_keys(self._captured, momenta))
            tensors |= {moment_name(name, number): moments[name] for name in learning}
        for name in learning:
            tensors[count_name(name)] = torch.tensor(checkpoint.counts[own_key(self._captured, name)])
        return tensors

    def _laid_out(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return tensors by path with the strides that stages have them in."""
        own = self._captured.model
        like = {**dict(own.named_parameters()), **dict(own.named_buffers())}
        with torch.no_grad():
            return {path: torch.empty_like(like[path], device="cpu").copy_(tensor) for path, tensor in tensors.items()}


def _differences(error: Exception) -> str:
    """Return in one line what torch says about a state_dict that does not fit."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(lines[1:3] or lines)[:300]
