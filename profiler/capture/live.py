"""A model that is in memory already: captured from a copy, and handed to other processes as a file.

The live model is left as it was. What measures a model in another process builds it there from its name; of a live one
the name is the path of a temporary file that holds it.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from profiler.capture.layer_graph import capture
from profiler.capture.sendable import make_sendable, refuse_unfit_parameters, refuse_unsendable
from profiler.capture.slice_model import sliced_model
from profiler.errors import ModelError, one_line
from profiler.execution import (
    ONE_TENSOR,
    Captured,
    Inputs,
    Loss,
    OwnLoss,
    cross_entropy,
    inputs_like,
    model_loss,
    tree_leaves,
)
from profiler.files import is_file
from profiler.profile import PLAIN_FORM, Form
from profiler.python_arguments import Hint
from profiler.settings import LIVE_SUFFIX, Config, UpdateRule


def _sample_remedy(sample: Any) -> str:
    """Return what to do about a sample that was refused: turn arrays into tensors; else take a minibatch."""
    parts = sample if isinstance(sample, (tuple, list)) else [sample]
    if any(isinstance(part, np.ndarray) for part in parts):
        return "turn arrays into tensors with torch.from_numpy"
    return "of a loader, take one minibatch: next(iter(loader))"


Model = Annotated[nn.Module, Hint("the model comes first: profile(model, sample), Pipeline(model, plan)", ModelError)]
LossFunction = Annotated[
    Callable[[Any, Tensor], Tensor] | Literal["model"], Hint("write loss=torch.nn.functional.mse_loss, say")
]
Sample = object
"""Annotations of arguments: a model, its loss, a minibatch of inputs (N, …), and one that may have targets with it."""
MODEL_LOSS = "model"
"""The loss that a model returns itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """A model with the minibatch that it is measured on.

    Attributes:
        inputs: ``(N, …)``, packed where there are several; ``targets``, those of these samples.
    """

    name: str
    model: nn.Module
    inputs: Tensor
    targets: Tensor | None
    loss: Loss
    called: Inputs = ONE_TENSOR


def live_model(model: nn.Module, sample: Any, loss: Any = None, name: str | None = None) -> LiveModel:
    """Return a copy of ``model`` that can be measured and trained.

    Args:
        model: On the CPU; it is left as it is.
        sample: A minibatch of inputs, or a pair of inputs and targets, which a loss of one's own needs. Inputs are a
            tensor, or several by name or in order.
        loss: ``function(output, targets)``; None for cross-entropy; ``model`` for what the model returns as its loss.
        name: What to call the model; None: as its class.
    """
    given, targets = pair_of(sample)
    if not any(isinstance(leaf, Tensor) for _, leaf in tree_leaves(given)):
        raise ModelError(f"the sample is a {type(sample).__name__} without a tensor to call the model with; "
                         f"{_sample_remedy(sample)}")  # fmt: skip
    called = inputs_like(model, given)
    inputs = called.pack(given)
    _refuse_other_sample(inputs, called)
    _refuse_other_model(model)
    refuse_unfit_parameters(model)
    try:
        copied = copy.deepcopy(model)
    except Exception as error:
        raise ModelError(f"the model cannot be copied: {type(error).__name__}: {one_line(error)}") from error
    if not copied.training:  # of a model in training, modules that are frozen in eval mode stay so
        copied.train()
    make_sendable(copied)
    refuse_unsendable(copied, "the model")
    return LiveModel(
        name=name or type(model).__name__,
        model=copied,
        inputs=inputs.detach(),
        targets=targets,
        loss=_loss_of(loss),
        called=called,
    )


def _refuse_other_sample(inputs: Tensor, called: Inputs) -> None:
    """Refuse a minibatch that nothing is measured on."""
    if inputs.dim() < 2 or not len(inputs):
        raise ModelError(f"the sample is a tensor of shape {tuple(inputs.shape)}; a minibatch of inputs (N, …) is "
                         "wanted, as the model is called with")  # fmt: skip
    if not called.packed and inputs.dtype not in (torch.float32, torch.int64):
        raise ModelError(f"the sample is of {inputs.dtype}; a model is measured and trained on float32, or on int64 as "
                         "token ids are: use sample.float() or sample.long()")  # fmt: skip
    if inputs.device.type != "cpu":
        raise ModelError(f"the sample is on {inputs.device}; stages run on the CPU: use sample.cpu()")


def _refuse_other_model(model: nn.Module) -> None:
    """Refuse a model that is not on the CPU, in float32 and by itself."""
    for tensor_name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.device.type != "cpu":
            raise ModelError(f"{tensor_name} is on {tensor.device}; stages run on the CPU: use model.cpu()")
    for path, parameter in model.named_parameters():
        if parameter.dtype in (torch.float16, torch.bfloat16):
            raise ModelError(f"the parameter '{path}' is of {parameter.dtype}; give the model in float32, with "
                             "model.float(): --precision chooses layers that run in less")  # fmt: skip
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise ModelError(
            f"the model is wrapped in {type(model).__name__}, and stages train one copy; give model.module"
        )
    if any(isinstance(own, torch.jit.ScriptModule) or hasattr(own, "_orig_mod") for own in model.modules()):
        raise ModelError("the model is compiled or scripted, and stages run its layers one by one; give it as it was "
                         "before torch.compile or torch.jit")  # fmt: skip


def pair_of(batch: Any) -> tuple[Any, Tensor | None]:
    """Split what a loader gives into inputs and targets; a ModelError where it is neither a pair nor inputs alone.

    A tuple or list of two whose second is a tensor or None is a pair. A tensor, or what has names, such as a dict, is
    inputs alone: labels are among them, and the targets are None.
    """
    if not isinstance(batch, (tuple, list)) or hasattr(batch, "_fields"):
        return batch, None
    if len(batch) == 2 and (isinstance(batch[1], Tensor) or batch[1] is None):
        return batch[0], batch[1]
    remedy = (
        "say which are inputs and which the targets, as in ((a, b), targets), or give the inputs by name: "
        "{'a': a, 'b': b}"
    )
    if not all(isinstance(part, Tensor) for part in batch):
        remedy = _sample_remedy(batch)
    raise ModelError(f"the sample is a {type(batch).__name__} of {len(batch)}; {remedy}")


def _loss_of(loss: Any) -> Loss:
    if loss is None:
        return cross_entropy
    if loss == MODEL_LOSS:
        return OwnLoss(model_loss)
    refuse_unsendable(loss, "the loss")
    return OwnLoss(loss)


def captured_live(live: LiveModel, form: Form = PLAIN_FORM) -> Captured:
    """Capture a live model in a form, its weights laid out as stages run fastest on them."""
    model = live.model.to(memory_format=torch.channels_last)
    captured = capture(
        model, live.name, live.inputs, live.loss, live.targets, precision=form.precision, inputs=live.called
    )
    return sliced_model(captured, form.slicing)


@contextmanager
def as_file(live: LiveModel, rule: UpdateRule) -> Iterator[Config]:
    """Keep a live model in a temporary file; yield a configuration that names it, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="stageplan-") as folder:
        path = Path(folder) / f"{live.name}{LIVE_SUFFIX}"
        try:
            torch.save(live, path)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"the model cannot be kept in {folder} while it is measured: {one_line(error)}; set TMPDIR to a folder "
                "with room for it"
            ) from error
        whole = live.inputs.dtype == torch.int64
        yield Config(
            model=str(path),
            batch_size=len(live.inputs),
            sample_shape=tuple(live.inputs.shape[1:]),
            vocabulary=int(live.inputs.max()) + 1 if whole else 0,
            own_rule=rule,
        )


def from_file(name: str) -> LiveModel | None:
    """Return the live model that is kept in the file ``name``; None where that is the name of something else."""
    if not (name.endswith(LIVE_SUFFIX) and is_file(Path(name))):
        return None
    live: LiveModel = torch.load(name, weights_only=False)
    return live
