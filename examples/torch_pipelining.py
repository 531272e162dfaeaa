"""Train a model of torchvision with torch.distributed.pipelining, cut where a plan cuts it.

python -m optimizer --model resnet18 --stages 2 --slice none -o plan.json
torchrun --nproc-per-node 2 examples/torch_pipelining.py plan.json

The plan's cuts may lie behind functions, inside a block, or behind one of several calls of a module, so the model's own
torch.fx graph is cut; a stage hands on what later ones read, for ``PipelineStage`` talks to its neighbours only.
"""

import inspect
import os
import sys
import time

import torch
import torch.distributed as dist
import torchvision
from torch import Tensor, fx, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

import stageplan


def planned() -> stageplan.Plan:
    """Return the plan that is named."""
    plan = stageplan.load(sys.argv[1])
    if not isinstance(plan, stageplan.Plan):
        raise SystemExit(f"{sys.argv[1]} is no plan")
    return plan


PLAN = planned()
HOME = {name: stage for stage, names in enumerate(PLAN.modules) for name in names}
LAST = PLAN.num_stages - 1
MICRO_BATCHES = max(8, PLAN.num_stages)
"""Of the plan's minibatch each, averaged in an update, for this schedule is synchronous."""
STEPS, SEED, AUXILIARY = 3, 0, 0.3


def model() -> nn.Module:
    """Return the model with the same weights on every rank, of which each keeps its own."""
    torch.manual_seed(SEED)
    made: nn.Module = torchvision.models.get_model(PLAN.model, weights=None, num_classes=PLAN.classes)
    return made.train()


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Return inputs and labels of one update, the same on every rank: put your own data here."""
    size, numbers = PLAN.batch_size * MICRO_BATCHES, torch.Generator().manual_seed(step)
    inputs = torch.randn(size, *PLAN.input_shape[1:], generator=numbers)
    return inputs, torch.randint(PLAN.classes, (size,), generator=numbers)


def loss(output: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """Return the mean cross-entropy, an auxiliary head's counted less."""
    main, *auxiliary = [output] if isinstance(output, Tensor) else output
    entropy = nn.functional.cross_entropy
    return entropy(main, labels) + sum(AUXILIARY * entropy(head, labels) for head in auxiliary)


class _Received(torch.autograd.Function):
    @staticmethod
    def forward(_: object, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        return gradient.contiguous()


def received(value: Tensor) -> Tensor:
    """Take a value from the stage before; its gradient goes back in one piece, as gloo sends it."""
    taken: Tensor = _Received.apply(value)
    return taken


def home_of(name: str) -> int | None:
    """Return the stage of a layer: of the innermost module around it that the plan names; None of what is no layer."""
    while name and name not in HOME:
        name = name.rpartition(".")[0]
    return HOME.get(name)


def layer_of(node: fx.Node) -> str:
    """Return a layer's name but for its number: its module's path, or that of the one whose forward calls it."""
    name = str(node.target)
    if node.op == "call_module":
        return name
    around = next(reversed(node.meta.get("nn_module_stack", {"": ""})), "").partition("@")[0]
    return f"{around}.{getattr(node.target, '__name__', name).strip('_')}".lstrip(".")


def known(graph: fx.Graph) -> dict[fx.Node, int]:
    """Return the stage of the values that the plan names."""
    found: dict[fx.Node, int] = {}
    taken = {"input"}
    for node in graph.nodes:
        if node.op == "placeholder":
            found[node] = 0
        elif node.op == "output" or isinstance(node.target, type):  # a named tuple, which puts the heads together
            found[node] = LAST
        elif node.op != "get_attr":
            name = path = layer_of(node)
            repeat = 1
            while name in taken:
                name, repeat = f"{path}_{repeat}", repeat + 1
            if (home := home_of(name)) is not None:
                taken.add(name)
                found[node] = home
    if len(set(found.values())) < PLAN.num_stages:
        raise SystemExit("this is not the model that the plan was made for; plan again")
    return found


def homes(graph: fx.Graph) -> dict[fx.Node, int]:
    """Return the stage of every value; what is no layer, such as a size, is where it is read."""
    wanted = known(graph)
    for node in reversed(graph.nodes):
        if node.op != "get_attr" and node not in wanted:
            wanted[node] = min((wanted[user] for user in node.users if user in wanted), default=LAST)
    found: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node in wanted:
            found[node] = max([wanted[node], *(found[own] for own in node.all_input_nodes if own in found)])
    return found


class AsCalled(fx.Tracer):
    """Traces a model as it is called here: with its input alone, so that Python binds every default."""

    proxy_buffer_attributes = True

    def create_args_for_root(self, *_signature: object, **_named: object) -> tuple[object, list[fx.Proxy]]:
        """Return the function that is traced, and its one argument."""
        name = next(iter(inspect.signature(self.root.forward).parameters))
        return self.root._call_impl, [  # noqa: SLF001 - so that forward hooks are traced
            self.create_proxy("placeholder", name, (), {})
        ]


def part(whole: nn.Module, stage: int) -> fx.GraphModule:
    """Return one stage: it takes what crosses the cut before it, and returns what crosses the one behind."""
    nodes = list(AsCalled().trace(whole).nodes)
    home = homes(nodes[0].graph)

    def crossing(cut: int) -> list[fx.Node]:
        return [node for node in home if home[node] <= cut and any(home[user] > cut for user in node.users)]

    graph = fx.Graph()
    given = crossing(stage - 1) if stage else [node for node in nodes if node.op == "placeholder"][:1]
    new = {node: graph.placeholder(node.name) for node in given}
    if stage:
        new = {node: graph.call_function(received, (value,)) for node, value in new.items()}
    for node in nodes:
        here = any(home[user] == stage for user in node.users) if node.op == "get_attr" else home[node] == stage
        if not here or node in new or node.op == "output" or isinstance(node.target, type):
            continue
        new[node] = graph.node_copy(node, new.__getitem__)
        if set(given) & set(node.all_input_nodes):  # which are leaves of autograd, not to be overwritten
            if node.kwargs.get("inplace"):
                new[node].kwargs = {**node.kwargs, "inplace": False}
            if node.op == "call_module" and hasattr(module := whole.get_submodule(str(node.target)), "inplace"):
                setattr(module, "inplace", False)  # noqa: B010 - whatever kind of layer it is
    out = crossing(stage)
    if stage == LAST:
        heads = nodes[-1].args[0]
        if isinstance(heads, fx.Node):
            heads = heads.args if isinstance(heads.target, type) else [heads]
        out = [head for head in heads if isinstance(head, fx.Node)]
    graph.output(tuple(graph.call_method("contiguous", (new[node],)) for node in out))
    return fx.GraphModule(whole, graph)


def main() -> None:
    """Train a few steps, and print losses and speed."""
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if int(os.environ["WORLD_SIZE"]) != PLAN.num_stages:
        raise SystemExit(f"there are {PLAN.num_stages} stages; start it with as many processes")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[local % len(cores)]})
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    own = part(model(), rank)
    stage = PipelineStage(own, rank, PLAN.num_stages, torch.device("cpu"))
    schedule = Schedule1F1B(stage, MICRO_BATCHES, loss_fn=loss)
    learning = [parameter for parameter in own.parameters() if parameter.requires_grad]
    rule = torch.optim.SGD(learning, lr=0.01, momentum=0.9) if learning else None
    for step in range(STEPS):
        inputs, labels = batch(step)
        losses: list[Tensor] = []
        begun_s = time.perf_counter()
        schedule.step(*([inputs] if rank == 0 else []), target=labels if rank == LAST else None, losses=losses)
        if rule:
            rule.step()
            rule.zero_grad()
        if rank == LAST:
            speed = PLAN.batch_size * MICRO_BATCHES / (time.perf_counter() - begun_s)
            print(f"step {step}: loss {torch.stack(losses).mean().item():.6f}, {speed:.1f} samples/s", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
