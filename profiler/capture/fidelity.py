"""Hold a captured model against the model itself: both run on the same minibatches, and have to agree bit for bit.

A record has what one forward called, and not what Python keeps between two: so another forward may take another branch,
and nothing that runs the captured layers alone can tell. Here the model's own
forward and its captured layers start from the same buffers and generators, in the layout that stages use:

    the sample              outputs, and buffers afterwards
    another minibatch       the same, and by one backward the gradient of every parameter; with other values and of
                            another size, as far as the model takes them

After each run the generators of torch, Python and numpy stand alike, for a branch may be taken by chance; and the model
has changed no number, text or container in plain Python, for what it keeps there may decide a later forward.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from profiler.capture.inputs import laid_out
from profiler.capture.undo import own_buffers, plain_values, seed_generators, untouched
from profiler.errors import CaptureError, one_line
from profiler.execution import Captured, fetch_attribute, run_layer, whole
from profiler.machine import blaming
from profiler.profile import INPUT

_SEED = 202_611_283
"""One that no forward sets by itself, or its own numbers would look like those of its layers."""
_SHRUNK = 0.75
"""What buffers, and about what parameters, are multiplied by for the other minibatch, so that no value is baked in."""
_FEW = 2
"""Samples of the other minibatch; one more than the sample has, where that has no more."""
_CAUSE = (
    "a record has one forward only, so leave out what depends on values, on numbers drawn in Python, or on a number "
    "that is kept"
)


@dataclass(frozen=True, slots=True)
class _Batch:
    """A minibatch: inputs ``(N, …)``, and their targets if they are known."""

    inputs: Tensor
    targets: Tensor | None


@dataclass(frozen=True, slots=True)
class _Run:
    """What a forward left, and a backward if there was one.

    Attributes:
        state: Buffers by path, in words: ``buffer norm.running_mean``; then gradients.
        drawn: Where the generators of torch, Python and numpy stand.
    """

    outputs: Sequence[Any]
    state: Mapping[str, Tensor | None]
    drawn: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Before:
    """What a model held before its own forward: plain values by name, and a mark of each parameter by path."""

    values: Mapping[str, str]
    marks: Mapping[str, str]


Forward = Callable[[Captured, Tensor], tuple[list[Any], Any]]
"""Runs a model or its layers on inputs; returns the heads, and what the model returns."""


def refuse_unfaithful(captured: Captured, inputs: Tensor, targets: Tensor | None = None) -> None:
    """Refuse captured layers that do not compute what their model does.

    Args:
        captured: In float32, with no layer cut.
        inputs: The sample, ``(N, …)``.
        targets: Its targets; None: gradients are those of a sum over the heads where the loss is the user's own.
    """
    sample = _Batch(inputs, targets)
    with untouched(captured.model), _one_thread(), blaming(captured.name):
        _refuse_difference(captured, sample, backward=False)
        _refuse_on_another(captured, sample, backward=True)


def refuse_unfaithful_briefly(captured: Captured, inputs: Tensor, targets: Tensor | None = None) -> None:
    """Refuse, by a small minibatch that runs twice, captured layers that do not compute what their model does.

    For a model whose layers were held against it when it was profiled, perhaps in another version of its code.
    """
    with untouched(captured.model), _one_thread(), blaming(captured.name):
        for backward in (False, True):  # for what a first forward keeps may decide the second
            _refuse_on_another(captured, _Batch(inputs, targets), backward=backward)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread, as stages do: several may add a sum up in another order each time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _mark(tensor: Tensor) -> str:
    """Return what is another text, all but surely, once a tensor holds other values."""
    own = tensor.detach() if _is_continuous(tensor) else tensor.detach().double()
    return f"{tensor._version} {own.sum().item()} {torch.linalg.vector_norm(own).item()}"  # noqa: SLF001 - no other


def _before(model: nn.Module) -> _Before:
    """Return what a model holds; without its parameters in eval mode, where only outputs are compared."""
    marked = model.named_parameters() if model.training else ()
    return _Before(plain_values(model), {path: _mark(own) for path, own in marked})


def _is_continuous(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _shrink_buffers(model: nn.Module) -> None:
    for buffer in model.buffers():
        if _is_continuous(buffer) and buffer.numel():
            buffer.mul_(_SHRUNK)


def _refuse_on_another(captured: Captured, sample: _Batch, *, backward: bool) -> None:
    """Hold layers against their model on the minibatch, least like the sample, that it takes."""
    if backward:
        with torch.no_grad():
            parameters = list(filter(_is_continuous, captured.model.parameters()))
            for index, parameter in enumerate(parameters):  # none by the same, for two may be alike at first
                parameter.mul_(_SHRUNK + 0.1 * index / len(parameters))
    for other in _others(captured, sample):
        before = _before(captured.model)
        try:
            plain = _run(captured, other, _by_model, backward=backward)
        except CaptureError:
            raise
        except Exception:  # noqa: BLE001, S112 - whatever a model says of a minibatch that its user never gave it
            continue
        _refuse_parting(captured, other, plain, before, backward=backward)
        return
    _refuse_difference(captured, sample, backward=backward)


def _others(captured: Captured, sample: _Batch) -> Iterator[_Batch]:
    """Yield minibatches with other values or of another size, those that differ most first."""
    inputs, samples = sample.inputs, len(sample.inputs)
    for values in (captured.inputs.mirrored(inputs), inputs):
        for size in (_FEW if samples > _FEW else samples + 1, samples):
            order = torch.arange(size).flip(0) % samples
            targets = None if sample.targets is None else sample.targets[order]
            yield _Batch(laid_out(values[order]), targets)


def _by_model(captured: Captured, inputs: Tensor) -> tuple[list[Any], Any]:
    returned: Any = captured.run(inputs)
    return captured.loss.heads(returned), returned


def _by_layers(captured: Captured, inputs: Tensor) -> tuple[list[Any], Any]:
    values = _values(captured, inputs)
    returned = captured.loss.returned([values[name] for name in captured.outputs])
    return captured.loss.heads(returned), returned


def _values(
    captured: Captured, inputs: Tensor, keep: Callable[[str, Any], None] = lambda _name, _value: None
) -> dict[str, Any]:
    """Run the captured layers in captured order, drawing from the generator as the model does; ``keep`` sees each."""
    segment = whole(captured)
    values: dict[str, Any] = {INPUT: inputs}
    paths = {path for operation in segment.operations for path in operation.attributes()}
    attributes = {path: fetch_attribute(captured.model, path) for path in paths}
    for operation, dead in zip(segment.operations, segment.drops, strict=True):
        run_layer(replace(operation, uses_rng=False), values, attributes, 0, 0)
        keep(operation.name, values[operation.name])
        for name in dead:
            del values[name]
    return values


def _run(captured: Captured, batch: _Batch, forward: Forward, *, backward: bool) -> _Run:
    model = captured.model
    with own_buffers(model):
        if backward:
            _shrink_buffers(model)
        seed_generators(_SEED)
        outputs, returned = forward(captured, batch.inputs.clone())
        drawn = {
            "torch": torch.get_rng_state().numpy().tobytes(),
            "Python": repr(random.getstate()).encode(),
            "numpy": repr(np.random.get_state()).encode(),  # noqa: NPY002
        }
        state: dict[str, Tensor | None] = {f"buffer {path}": buffer for path, buffer in model.named_buffers()}
        if backward:
            learning = {path: own for path, own in model.named_parameters() if own.requires_grad}
            loss = _loss(captured, outputs, returned, batch.targets)
            gradients = torch.autograd.grad(loss, list(learning.values()), allow_unused=True)
            for path, gradient in zip(learning, gradients, strict=True):
                if gradient is not None and gradient.is_sparse:
                    raise CaptureError(
                        f"model '{captured.name}': the gradient of {path} is sparse, which stages do not keep; leave "
                        "sparse=True out"
                    )
            state |= {"loss": loss.detach()}
            state |= {f"gradient of {path}": own for path, own in zip(learning, gradients, strict=True)}
        kept = [head.detach() if isinstance(head, Tensor) else head for head in outputs]  # which lets go of the graph
        return _Run(kept, state, drawn)


def _loss(captured: Captured, outputs: Sequence[Any], returned: Any, targets: Tensor | None) -> Tensor:
    """Return the loss of what the model returns; without targets, a sum over all heads that learn."""
    if targets is None or not isinstance(targets, Tensor):
        heads = [head for head in outputs if isinstance(head, Tensor) and head.requires_grad]
        sums = [(head * torch.linspace(0.5, 1, head.numel()).view(head.shape)).sum() for head in heads]
        return torch.stack(sums).sum()
    return captured.loss.of(returned, targets)


def _refuse_difference(captured: Captured, batch: _Batch, *, backward: bool) -> None:
    before = _before(captured.model)
    plain = _run(captured, batch, _by_model, backward=backward)
    _refuse_parting(captured, batch, plain, before, backward=backward)


def _refuse_parting(captured: Captured, batch: _Batch, plain: _Run, before: _Before, *, backward: bool) -> None:
    """Refuse layers that part from what their model did."""
    changes = _changes(before.values, plain_values(captured.model))
    for path, mark in before.marks.items():
        if _mark(captured.model.get_parameter(path)) != mark:
            raise CaptureError(
                f"model '{captured.name}': its forward changes the parameter {path}, as max_norm does, and stages have "
                "versions of it; change it outside of forward"
            )
    try:
        layers = _run(captured, batch, _by_layers, backward=backward)
    except Exception as error:
        raise CaptureError(
            f"model '{captured.name}' takes a minibatch of shape {tuple(batch.inputs.shape)}, and its captured layers "
            f"do not: {one_line(error)}; {_CAUSE}"
        ) from error
    difference = next(_differences(captured, batch, plain, layers), "")
    if changes and (difference or backward):  # what is made once, by the first forward, harms nobody
        raise CaptureError(
            f"model '{captured.name}': its forward changes {changes[0]}, which no captured layer does; keep it in a "
            "buffer that is changed in place (self.steps.add_(1)), or change it outside of forward"
        )
    if difference:
        raise CaptureError(f"model '{captured.name}' {difference}")


def _differences(captured: Captured, batch: _Batch, plain: _Run, layers: _Run) -> Iterator[str]:
    """Yield in words how a model and its layers differ; the first is the one to tell."""
    for generator, state in plain.drawn.items():
        if layers.drawn[generator] != state:
            yield (
                f"draws other numbers from the generator of {generator} than its captured layers do; let a layer of "
                "torch.nn, such as Dropout, draw them"
            )
    if not _same_outputs(plain.outputs, layers.outputs):
        where = _first_difference(captured, batch)
        yield f"computes something else than its captured layers, first seen {where}; {_CAUSE}"
    for name, tensor in plain.state.items():
        if not same_bits(tensor, layers.state[name]):
            yield f"has another {name} than its captured layers; {_CAUSE}"


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    changed = [name for name in after if before.get(name, after[name]) != after[name]]
    return [f"{name} (from {before[name][:40]} to {after[name][:40]})" for name in changed]


def _first_difference(captured: Captured, batch: _Batch) -> str:
    """Return in words where the model and its layers part, by what each torch.nn module gives when it is called."""
    made: dict[str, Any] = {}

    def keep(name: str, value: Any) -> None:
        made[name] = value.detach().clone() if isinstance(value, Tensor) else value

    with own_buffers(captured.model):
        torch.manual_seed(_SEED)
        _values(captured, batch.inputs.clone(), keep)
    calls: dict[nn.Module, list[str]] = {}
    for operation in captured.operations:
        if isinstance(operation.target, nn.Module):
            calls.setdefault(operation.target, []).append(operation.name)
    parted: list[str] = []
    last = "its input"

    def compare(module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal last
        if module not in calls or parted:
            return
        name = calls[module].pop(0) if calls[module] else ""
        if not name:
            parted.append(f"behind {last}, where the model calls a layer that was not captured")
        elif not same_bits(output, made[name]):
            parted.append(f"in the output of layer '{name}' ({type(module).__name__}), which runs after {last}")
        last = f"layer '{name}'"

    handle = nn.modules.module.register_module_forward_hook(compare)
    try:
        with own_buffers(captured.model):
            torch.manual_seed(_SEED)
            _by_model(captured, batch.inputs.clone())
    finally:
        handle.remove()
    return parted[0] if parted else f"behind {last}"


def _same_outputs(ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
    """Say whether two models gave equally many outputs, each the same bit for bit."""
    return len(ours) == len(theirs) and all(same_bits(one, other) for one, other in zip(ours, theirs, strict=True))


def same_bits(first: Any, second: Any) -> bool:
    """Say whether two values agree in every bit; of what is no tensor, whether they are equal."""
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return type(first) is type(second) and (isinstance(first, Tensor) or bool(first is second or first == second))
    dense = [(own.to_dense() if own.is_sparse else own).detach().contiguous() for own in (first, second)]
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        return False
    return torch.equal(*(own.reshape(-1).view(torch.uint8) for own in dense)) if first.numel() else True
