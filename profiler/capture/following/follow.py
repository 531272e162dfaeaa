"""Follow a run of a model: learn what it calls from real forwards, and return that as operations.

Two forwards are recorded, on two samples, and on one of other values, or some more where one does not do; or, of a
model that takes minibatches of one size only, both on the whole sample. What a record
cannot promise is refused with the line that does it, unless a submodule can be one layer instead: then nobody looks
inside. Calls whose result depends on nothing but constants are worked out once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import map_aggregate

from profiler.capture.following.recorder import Call, Failed, Recorder, UnfollowableError
from profiler.capture.following.sizes import PartingError, with_sizes
from profiler.capture.inputs import laid_out
from profiler.capture.undo import seed_generators
from profiler.errors import CaptureError, one_line
from profiler.execution import Inputs, Operation, Ref, Size, leaves, map_tree, tree_leaves
from profiler.machine import shortage

SEED = 0
_SEVERAL = (
    "; a model of several inputs needs a sample that names them: stageplan.profile(model, {'a': a, 'b': b}), or data "
    "in a configuration file"
)


def follow(model: nn.Module, name: str, inputs: Inputs, sample: Tensor) -> tuple[tuple[Operation, ...], Any, Inputs]:
    """Return the model's operations in captured order, what it returns with a ``Ref`` for each tensor, and its inputs.

    Args:
        model: Its buffers may be changed.
        name: What to call it in messages.
        inputs: How it is called with a minibatch; where values decide in its forward, it is told that it is traced.
        sample: A minibatch, of which a few samples are run.
    """
    opaque: dict[str, str] = {}
    warm, sizes = False, {path: buffer.shape for path, buffer in model.named_buffers()}
    few: Tensor = laid_out(_rows(sample, 2))
    others: tuple[int, ...] = (1, 3, 4, len(sample))  # a batch norm does not train on a single sample
    while True:
        try:
            try:
                calls, returned = _recorded(model, name, inputs, few, opaque)
            except CaptureError:
                if len(sample) == len(few):
                    raise
                few, others = laid_out(sample), (len(sample),)  # a forward may take minibatches of one size only
                calls, returned = _recorded(model, name, inputs, few, opaque)
            record = partial(_recorded, model, name, inputs, opaque=opaque)
            other, again, returned_again = _first_taken(record, inputs.mirrored(sample), others)
            sized = with_sizes(calls, again, (len(few), len(other)))
            _refuse_numbers(name, returned, returned_again)
            _refuse_made_anew(model, name, sizes)
            return *_operations(sized, returned), inputs
        except UnfollowableError as error:
            if error.values and not inputs.told:
                inputs, opaque = replace(inputs, told=True), {}
            elif error.path:
                opaque[error.path] = str(error)
            else:
                raise CaptureError(
                    f"model '{name}' cannot be captured: {error}; compute that in __init__, or put it into a submodule "
                    "of its own, which then is one layer"
                ) from error
        except PartingError as error:
            if warm:
                raise CaptureError(
                    f"model '{name}' cannot be captured: {error}; let its forward call the same layers for each "
                    "minibatch"
                ) from error
            warm = True  # by the run so far: what a first forward makes and keeps, the next ones read


def _first_taken(
    record: Callable[[Tensor], tuple[list[Call], Any]], sample: Tensor, counts: Sequence[int]
) -> tuple[Tensor, list[Call], Any]:
    """Record on the first of ``counts`` that raises no CaptureError, and return these samples; or raise the last."""
    first, *rest = counts
    some = laid_out(_rows(sample, first))
    try:
        return some, *record(some)
    except CaptureError:
        if not rest:
            raise
        return _first_taken(record, sample, rest)


def _refuse_numbers(name: str, first: Any, second: Any) -> None:
    """Refuse a model that returns what follows the minibatch and is no tensor."""
    for (_, own), (_, other) in zip(tree_leaves(first), tree_leaves(second), strict=False):
        if not isinstance(own, (Ref, Tensor)) and own != other:
            raise CaptureError(
                f"model '{name}' returns a {type(own).__name__} that follows the minibatch, {own} and {other}; wrap it "
                "in a module that returns only what the loss needs"
            )


def _rows(sample: Tensor, count: int) -> Tensor:
    return sample[torch.arange(count).flip(0) % len(sample)]


def _refuse_made_anew(model: nn.Module, name: str, sizes: Mapping[str, torch.Size]) -> None:
    """Refuse a model whose first forward makes a buffer that others read; stages would have the one of before."""
    for path, buffer in model.named_buffers():
        if sizes.get(path, buffer.shape) != buffer.shape:
            raise CaptureError(
                f"model '{name}': its first forward makes the buffer '{path}' anew, {tuple(buffer.shape)} for "
                f"{tuple(sizes[path])}; call the model on one minibatch before you give it"
            )


def _recorded(
    model: nn.Module, name: str, inputs: Inputs, sample: Tensor, opaque: dict[str, str]
) -> tuple[list[Call], Any]:
    """Return the calls of a forward, and what it returns with a ``Ref`` for each tensor."""
    recorder = Recorder(model, opaque)
    seed_generators(SEED)  # a branch may be taken by chance
    received = sample.clone()
    recorder.received(received)
    tensors = {own.name: recorder.taken(own, received) for own in inputs.taken}
    args, kwargs = inputs.arguments(received, tensors)
    try:
        with inputs.telling(), recorder.recording():
            returned = model(*args, **kwargs)
        recorder.settle()
        return recorder.calls, map_tree(recorder.result, returned)
    except UnfollowableError:
        raise
    except Exception as error:
        failed, remedy = recorder.failed, _remedy(model, recorder.failed, sample)
        where = f"layer '{failed.name}' ({failed.kind}): " if failed else f"{type(error).__name__}: "
        raise shortage(error, f"model '{name}'") or CaptureError(
            f"model '{name}' rejects {inputs.words(sample)}: {where}{one_line(error)}"
            + (f"; {remedy}" if failed or inputs.packed else _SEVERAL)
        ) from error


def _remedy(model: nn.Module, failed: Failed | None, sample: Tensor) -> str:
    """Return what to do about a layer that rejects its input."""
    target = failed.target if failed else None
    if isinstance(target, nn.Embedding) and sample.is_floating_point():
        return "its samples are token ids: give --sample-shape and --vocabulary"
    channels = getattr(target, "in_channels", None)
    if channels and sample.dim() == 4 and channels != sample.shape[1] and failed and failed.first:
        rest = ",".join(map(str, sample.shape[2:]))
        return f"its samples have another number of channels: give --sample-shape {channels},{rest}"
    other = {own.dtype for own in model.parameters() if own.is_floating_point()} - {torch.float32}
    if other:
        return f"samples are float32 and some of its parameters are {other.pop()}; build it in float32"
    return "try another --batch-size or --image-size"


def _operations(calls: Sequence[Call], returned: Any) -> tuple[tuple[Operation, ...], Any]:
    """Return calls as operations, without those that make constants or that nobody reads, and the tree of results."""
    constants: dict[str, Any] = {}
    for call in calls:
        if call.constant and all(isinstance(leaf, Ref) and leaf.layer in constants for leaf in _standing(call)):
            constants[call.name] = call.value

    def stand(leaf: Any) -> Any:
        return constants[leaf.layer] if isinstance(leaf, Ref) and leaf.layer in constants else leaf

    left = [call for call in calls if call.name not in constants]
    results = map_tree(stand, returned)
    read = {leaf.layer for _, leaf in tree_leaves(results) if isinstance(leaf, Ref)}
    kept: list[Call] = []
    for call in reversed(left):
        if call.name in read or call.effects:
            if call.lost:
                raise call.lost
            kept.append(call)
            read |= {leaf.layer for leaf in _standing(call)}
    operations = tuple(
        Operation(
            index=index,
            name=call.name,
            kind=call.kind,
            target=call.target,
            args=map_aggregate(call.args, stand),
            kwargs=map_aggregate(call.kwargs, stand),
            opaque=call.reason,
            autocast="off" if call.in_float32 else "",
        )
        for index, call in enumerate(reversed(kept))
    )
    return operations, results


def _standing(call: Call) -> list[Ref | Size]:
    """Return what stands in a call's arguments for values of other calls, or for their sizes."""
    return [leaf for leaf in leaves((call.args, call.kwargs)) if isinstance(leaf, (Ref, Size))]
