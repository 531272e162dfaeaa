"""One process of a baseline: train the plain way, and say on stdout how many samples a second that made.

process      the training loop, on one thread or several
ddp          DistributedDataParallel over gloo, a minibatch in each process
pipelining   torch.distributed.pipelining's Schedule1F1B with our split, a micro-batch for each minibatch of an update
"""

import inspect
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor, fx, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from profiler.capture import from_file, inputs_of, models
from profiler.execution import ONE_TENSOR, CrossEntropy, Inputs, Loss, autocasting, cross_entropy, heads
from profiler.machine import pin, tie_to
from profiler.profile import FP32
from profiler.settings import UpdateRule
from runtime.baselines.baselines import Kind, Spec
from runtime.channels import join

WARM_UP_UPDATES = 2


def main() -> None:
    """Read the baseline's specification from stdin and train."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=Spec)
    if not tie_to(spec.parent):
        return
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what user code prints is no result
    _set(spec)
    if spec.rendezvous:
        join(spec.rendezvous, spec.rank, spec.world_size)
    step, minibatches = PREPARE[spec.kind](spec)
    updates = max(1, round(spec.config.minibatches() / minibatches))
    for _ in range(WARM_UP_UPDATES):
        step()
    start_s = time.perf_counter()
    for _ in range(updates):
        step()
    speed = updates * minibatches * spec.config.batch_size / (time.perf_counter() - start_s)
    if dist.is_initialized():
        dist.barrier()
    print(speed, file=results, flush=True)


def _set(spec: Spec) -> None:
    """Take the cores and threads: with the process settings of our stages if ``tuned``, else as torch has them."""
    if spec.tuned:
        pin(*(spec.cores if spec.kind == "process" else spec.cores[spec.rank : spec.rank + 1]))
        return
    os.sched_setaffinity(0, spec.cores)
    torch.set_num_threads(spec.threads)


@dataclass(frozen=True, slots=True)
class Work:
    """A model, a minibatch, how it is called with that, and its loss."""

    model: nn.Module
    made: Tensor
    labels: Tensor
    called: Inputs
    loss: Loss


def _built(spec: Spec) -> Work:
    """Return what is trained; images and convolutions have their channels last when tuned."""
    config = spec.config
    live = from_file(config.model)
    model = live.model if live else models.build(config.model, config.classes, spec.seed)
    generator = torch.Generator().manual_seed(spec.seed)
    made = inputs_of(config.input_shape, config.vocabulary, generator)
    if spec.tuned:
        model.to(memory_format=torch.channels_last)
    else:
        made = made.contiguous()
    called, loss = (live.called, live.loss) if live else (ONE_TENSOR, cross_entropy)
    if called.packed and live:
        made = live.inputs
    with torch.no_grad():
        shape = loss.heads(called.call(model, made))[0].shape
    labels = shape[:-1] if isinstance(loss, CrossEntropy) else (config.batch_size,)
    drawn = torch.randint(shape[-1] if shape else 2, tuple(labels), generator=generator)
    return Work(model, made, drawn, called, loss)


def _rule(rule: UpdateRule, model: nn.Module, *, tuned: bool) -> Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    name, arguments = rule.torch_optim
    optimizer: Optimizer = getattr(torch.optim, name)(parameters, **arguments, fused=True if tuned else None)
    return optimizer


Update = tuple[Callable[[], None], int]
"""What makes one update, and how many minibatches it takes."""


def _plain(spec: Spec) -> Update:
    return _loop(spec, _built(spec)), spec.update_every


def _replicas(spec: Spec) -> Update:
    work = _built(spec)
    return _loop(spec, replace(work, model=nn.parallel.DistributedDataParallel(work.model))), spec.update_every


def _loop(spec: Spec, work: Work) -> Callable[[], None]:
    model = work.model
    rule = _rule(spec.config.rule, model, tuned=spec.tuned)
    passes = spec.update_every // spec.world_size
    apart = model.no_sync if isinstance(model, nn.parallel.DistributedDataParallel) else nullcontext

    def step() -> None:
        rule.zero_grad()
        for number in range(passes):
            with apart() if number < passes - 1 else nullcontext():
                with _precision(spec):
                    returned = work.called.call(model, work.made)
                torch.autograd.backward(work.loss.of(returned, work.labels) / passes)
        rule.step()

    return step


def _precision(spec: Spec) -> AbstractContextManager[Any]:
    return nullcontext() if spec.precision == FP32 else autocasting()


def _pipeline(spec: Spec) -> Update:
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B
    from torch.fx.passes.split_module import split_module

    work = _built(spec)
    model, made, labels = work.model, work.made, work.labels
    whole = fx.GraphModule(model, _AsCalled().trace(model))
    stages = _stages(whole, {layer: number for number, layers in enumerate(spec.stages) for layer in layers})
    split = split_module(whole, model, stages.__getitem__)
    name = f"submod_{spec.rank}"
    own = getattr(split, name)
    _out_of_place(own)
    seen = _Boundaries(split)
    with _precision(spec):
        seen.run(made)
    received, given = seen.of[name]
    if spec.tuned:
        received, given = _contiguous(received), _contiguous(given)
    last = spec.world_size - 1
    module: nn.Module = _Handing(own) if spec.tuned else own
    if spec.precision != FP32:
        module = _Lower(module)
    device = torch.device("cpu")
    # Without both, torch's stages pickle for each other what their tensors are like.
    stage = PipelineStage(module, spec.rank, spec.world_size, device, input_args=received, output_args=given)
    many = spec.update_every
    schedule = Schedule1F1B(stage, many, loss_fn=lambda output, target: cross_entropy(heads(output), target))
    rule = _rule(spec.config.rule, own, tuned=spec.tuned)
    all_inputs, all_labels = torch.cat([made] * many), torch.cat([labels] * many)

    def step() -> None:
        rule.zero_grad()
        arguments = (all_inputs,) if spec.rank == 0 else ()
        schedule.step(*arguments, target=all_labels if spec.rank == last else None)
        rule.step()

    return step, many


class _Boundaries(fx.Interpreter):
    """Runs a split model, and keeps what each part takes and gives."""

    def __init__(self, split: fx.GraphModule) -> None:
        super().__init__(split)
        self.of: dict[str, tuple[Any, Any]] = {}

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what a part gives."""
        given = super().call_module(target, args, kwargs)
        self.of[target] = args, given
        return given


def _contiguous(values: Any) -> Any:
    return tree_map(lambda value: value.contiguous() if isinstance(value, Tensor) else value, values)


class _Handing(nn.Module):
    """A stage with its channels last inside and first at its ends, for gloo sends contiguous tensors only."""

    def __init__(self, inside: fx.GraphModule) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, *received: Tensor) -> Any:
        """Return what the stage gives, contiguous; so are the gradients of what it received."""
        given = self.inside(*[_Contiguous.apply(value) for value in received])
        return _contiguous(given)


class _Lower(nn.Module):
    """A stage under autocast."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, *received: Tensor) -> Any:
        """Return what the stage gives."""
        with autocasting():
            return self.inside(*received)


class _Contiguous(torch.autograd.Function):
    """Lays a value's channels last; its gradient goes back contiguous."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value.view_as(value)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous()


class _AsCalled(fx.Tracer):
    """Traces a model as it is called, with its input alone: so Python binds every default."""

    def create_args_for_root(self, *_signature: Any, **_named: Any) -> tuple[Callable[..., Any], list[Any]]:
        name = next(iter(inspect.signature(self.root.forward).parameters))
        return self.root._call_impl, [self.create_proxy("placeholder", name, (), {})]  # noqa: SLF001 - with its hooks


def _stages(whole: fx.GraphModule, home: Mapping[str, int]) -> dict[fx.Node, int]:
    """Return the stage of each call: of the layer that it is, by name, or of who reads it where it is no layer.

    No call is in an earlier stage than what it reads.
    """
    calls = [node for node in whole.graph.nodes if node.op in ("call_module", "call_function", "call_method")]
    known: dict[fx.Node, int] = {}
    taken: set[str] = set()
    for node in calls:
        name = path = _path_of(node)
        repeat = 1
        while name in taken:
            name, repeat = f"{path}_{repeat}", repeat + 1
        if name in home:
            taken.add(name)
            known[node] = home[name]
    for node in reversed(calls):
        if node not in known:
            known[node] = min((known[user] for user in node.users if user in known), default=0)
    stages: dict[fx.Node, int] = {}
    for node in calls:
        stages[node] = max([known[node], *(stages[own] for own in node.all_input_nodes if own in stages)])
    return stages


def _path_of(node: fx.Node) -> str:
    """Return what a plan calls a node, but for its number: its module, or the one whose forward calls it."""
    if node.op == "call_module":
        return str(node.target)
    around = next(reversed(node.meta.get("nn_module_stack", {"": ""})), "").partition("@")[0]
    name = getattr(node.target, "__name__", str(node.target)).strip("_")
    return f"{around}.{_CALLED.get(name, name)}".lstrip(".")


_CALLED = {"truediv": "div", "floordiv": "floor_divide", "mod": "remainder"}
"""What torch calls operators of Python."""


def _out_of_place(own: fx.GraphModule) -> None:
    """Let no layer overwrite what its stage received, which is a leaf of its graph."""
    received = [node for node in own.graph.nodes if node.op == "placeholder"]
    for node in {user for value in received for user in value.users if user.op == "call_module"}:
        module = own.get_submodule(str(node.target))
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]


PREPARE: dict[Kind, Callable[[Spec], Update]] = {"process": _plain, "ddp": _replicas, "pipelining": _pipeline}

if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # at once: an orderly end of gloo's threads aborts the process now and then
