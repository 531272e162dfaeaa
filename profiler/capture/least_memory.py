"""Refuse a minibatch with which a training step cannot fit into memory, before much of it is allocated.

    least = weights that learn × (gradient + momenta + a second version) + inputs + saved(N)
    saved(N) ≥ saved(3) + (N − 3) × (saved(3) − saved(2))

where saved(n) is what autograd keeps of a forward on n samples for its backward, read off real forwards on two and
three samples: the fewest that batch norm allows, and two numbers to leave out what does not grow with the minibatch.
"""

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from profiler.capture.undo import untouched
from profiler.errors import ModelError
from profiler.execution import ONE_TENSOR, Inputs, storage_of
from profiler.machine import free_to_this_process
from profiler.settings import Config

FEW = 3


def refuse_more_than_free(what: str, least_bytes: int) -> None:
    """Refuse what takes more memory than this process may still have."""
    free, whose = free_to_this_process()
    if least_bytes > free:
        raise ModelError(
            f"{what} takes {least_bytes >> 20} MiB at least, and {whose} has {free >> 20} MiB free; "
            "use a smaller --batch-size"
        )


def refuse_too_large(model: nn.Module, few: Tensor, config: Config, called: Inputs = ONE_TENSOR) -> None:
    """Refuse to train a whole model in this process on more samples than its memory holds.

    Args:
        model: In training mode; its buffers and torch's generator are left as they were.
        few: ``FEW`` of its samples.
        config: The model's name, batch size and update rule.
        called: How it is called with them.
    """
    learning = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    least = learning * (config.rule.momenta + 2) + _least_of_samples(model, few, config.batch_size, called)
    refuse_more_than_free(f"a training step of model '{config.name}' on {config.batch_size} samples", least)


def _least_of_samples(model: nn.Module, few: Tensor, batch_size: int, called: Inputs) -> int:
    """Return what inputs and saved values take at least; 0 where the model does not run on few samples."""
    if batch_size <= FEW:
        return 0
    try:
        fewer, more = _saved_bytes(model, few[:-1], called), _saved_bytes(model, few, called)
    except Exception:  # noqa: BLE001 - what is wrong with the model is told when it is captured
        return 0
    return more + (batch_size - FEW) * max(0, more - fewer) + few[:1].nbytes * batch_size


def _saved_bytes(model: nn.Module, inputs: Tensor, called: Inputs = ONE_TENSOR) -> int:
    """Return what autograd keeps of a forward for its backward, the model's own tensors and ``inputs`` aside."""
    storages = {}  # which are held, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        storages[storage_of(tensor)] = tensor.untyped_storage()
        return tensor

    with untouched(model), saved_tensors_hooks(keep, lambda tensor: tensor):
        own = {storage_of(tensor) for tensor in (inputs, *model.parameters(), *model.buffers())}
        called.call(model, inputs)
    return sum(storage.nbytes() for key, storage in storages.items() if key not in own)
