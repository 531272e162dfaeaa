"""A second implementation of the recurrences: one process, no rings, no slots, every version kept for ever.

Minibatch b runs stage s, forward and backward, on that stage's version max(0, b − d_s + 1), d_s = min(S − s, M); its
gradients make version b + 1 from version b. With an update every m minibatches, b runs on version ⌊b ÷ m⌋ everywhere,
and the mean of their gradients makes the next one. It walks the torch.fx graph itself and calls modules through
torch.func.functional_call, so it shares with the runtime only the seeds and the data.
"""

import copy
import operator
from collections.abc import Sequence
from typing import Any

import small_models
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from optimizer.plan import Plan
from optimizer.schedule import Pace
from profiler.execution import Captured, layer_seed
from runtime.worker import data


def graph_of(model: nn.Module) -> fx.Graph:
    tracer = fx.Tracer()
    tracer.proxy_buffer_attributes = True
    return tracer.trace(model)


def calls_of(graph: fx.Graph) -> list[fx.Node]:
    """What computes; a named tuple does not."""
    return [node for node in graph.nodes if node.op.startswith("call") and node.target is not small_models.Three]


def stages_of_calls(captured: Captured, plan: Plan, model: nn.Module) -> dict[str, int]:
    """The stage of each fx node; a layer that only lends a weight is none."""
    homes = {layer: number for number, stage in enumerate(plan.stages) for layer in stage.layers}
    layers = [operation.name for operation in captured.operations if operation.kind != "Lent"]
    calls = calls_of(graph_of(model))
    dead = [node for node in calls if node.op == "call_module" and not node.users and node.target not in layers]
    home = zip([node for node in calls if node not in dead], layers, strict=True)
    stages = {node.name: homes[name] for node, name in home}
    return stages | {node.name: stages[str(node.args[0])] for node in dead}


class Replay:
    def __init__(
        self,
        model: nn.Module,
        stage_of: dict[str, int],
        seed: int,
        *,
        lr: float,
        momentum: float,
        pace: Pace,
        precision: str = "fp32",
    ) -> None:
        """``stage_of`` maps the fx node's name to its stage; under ``bf16`` the whole forward runs under autocast."""
        self.precision = precision
        self.model, self.stage_of, self.seed = copy.deepcopy(model), stage_of, seed
        self.lr, self.momentum = lr, momentum
        self.pace = pace
        self.sums: dict[str, Tensor] = {}
        self.graph = graph_of(self.model)
        first: dict[int, str] = {}
        every = self.model.named_parameters(remove_duplicate=False)
        self.canonical = {path: first.setdefault(id(weight), path) for path, weight in every}
        self.calls = calls_of(self.graph)
        self.stages = max(stage_of.values()) + 1
        start = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        self.versions: list[dict[str, Tensor]] = [start]
        self.moments = {name: torch.zeros_like(weight) for name, weight in start.items()}
        self.losses: list[float] = []
        self.before, self.base = 0, 0

    def part(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Train on these minibatches, after which the pipeline drains."""
        self.base = len(self.versions) - 1
        for minibatch, (images, labels) in enumerate(pairs):
            self.step(minibatch, len(pairs), images, labels)
        self.before += len(pairs)

    def go_on_from(self, other: "Replay") -> None:
        """Go on, under this split, from what another has trained."""
        self.versions, self.losses = [other.versions[-1]], list(other.losses)
        self.moments = other.moments
        self.before = other.before
        with torch.no_grad():
            for own, held in zip(self.model.buffers(), other.model.buffers(), strict=True):
                own.copy_(held)

    def run(self, minibatches: int, shape: tuple[int, ...], classes: int) -> None:
        for minibatch in range(minibatches):
            images = data.inputs(self.seed, minibatch, shape)
            labels = data.targets(self.seed, minibatch, shape[:1], classes)
            self.step(minibatch, minibatches, images, labels)

    def step(self, minibatch: int, minibatches: int, images: Tensor, labels: Tensor) -> None:
        weights = {name: self._version(name, minibatch, minibatches) for name in self.versions[0]}
        received: list[dict[fx.Node, Tensor]] = [{} for _ in range(self.stages)]
        made: dict[fx.Node, Any] = {}
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            for stage in range(self.stages):
                self._forward(stage, minibatch, images, weights, received, made)
        out: Any = next(node for node in self.graph.nodes if node.op == "output").args[0]
        out = out.args if isinstance(out, fx.Node) and out.target is small_models.Three else out
        heads = [out] if isinstance(out, fx.Node) else [head for head in out if head is not None]
        main, *auxiliary = [self._at_the_end(head, received, made).float() for head in heads]
        loss = nn.functional.cross_entropy(main, labels)
        for head in auxiliary:
            loss = loss + 0.3 * nn.functional.cross_entropy(head, labels)
        self.losses.append(float(loss.detach()))
        every = self.pace.update_every
        first = minibatch // every * every
        last = min(first + every, minibatches) - 1
        torch.autograd.backward(loss, torch.tensor(1 / (last - first + 1)))
        for stage in reversed(range(self.stages - 1)):
            crossing = [node for node in received[stage + 1] if received[stage + 1][node].requires_grad]
            here: list[Any] = [received[stage].get(node, made.get(node)) for node in crossing]
            torch.autograd.backward(here, [received[stage + 1][node].grad for node in crossing])
        found = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
        for name, gradient in found.items():
            self.sums[name] = self.sums[name] + gradient if name in self.sums else gradient
        if minibatch < last:
            return
        found, self.sums = self.sums, {}
        following = {}
        for name, weight in self.versions[-1].items():
            if name not in found:  # nothing depends on it
                following[name] = weight
                continue
            self.moments[name] = torch.add(found[name], self.moments[name], alpha=self.momentum)
            following[name] = torch.add(weight, self.moments[name], alpha=-self.lr)
        self.versions.append(following)

    def _at_the_end(self, head: fx.Node, received: list[dict[fx.Node, Tensor]], made: dict[fx.Node, Any]) -> Tensor:
        """The head as the last stage has it."""
        at_the_end: Tensor = received[-1].get(head, made[head])
        return at_the_end

    def _held(self, weights: dict[str, Tensor], path: str) -> Tensor:
        """A layer's weight; one that another layer lends it is a value, of which autocast makes a cast of its own."""
        weight = weights[self.canonical[path]]
        return weight if self.canonical[path] == path else weight.view_as(weight)

    def _stage(self, name: str) -> int:
        owner, _, _ = name.rpartition(".")
        users = [node for node in self.calls if node.op == "call_module" and node.target == owner]
        readers = [user for node in self.graph.nodes if node.op == "get_attr" and node.target == name
                   for user in node.users]  # fmt: skip
        return self.stage_of[(users or readers)[0].name]

    def _version(self, name: str, minibatch: int, minibatches: int) -> Tensor:
        stage = self._stage(name)
        depth = min(self.stages - stage, minibatches)
        group = minibatch // self.pace.update_every
        due = max(0, minibatch - depth + 1) if self.pace.name == "1f1b" else group
        return self.versions[self.base + due][name].clone().requires_grad_()

    def _forward(  # noqa: C901, PLR0917 - one walk over the graph
        self,
        stage: int,
        minibatch: int,
        images: Tensor,
        weights: dict[str, Tensor],
        received: list[dict[fx.Node, Tensor]],
        made: dict[fx.Node, Any],
    ) -> None:
        """Run one stage; what it, or one behind it, reads from before is a fresh leaf copied from the last stage."""
        later = [node for node in self.calls if self.stage_of[node.name] >= stage]
        out = list(self.graph.nodes)[-1]
        out = out.args[0] if isinstance(out.args[0], fx.Node) and out.args[0].target is small_models.Three else out
        needed = dict.fromkeys(
            arg for node in (*later, out) for arg in node.all_input_nodes if arg.op.startswith("call")
        )
        for arg in needed:
            if self.stage_of[arg.name] < stage:
                source = received[stage - 1].get(arg, made[arg])
                received[stage][arg] = source.detach().clone().requires_grad_(source.requires_grad)
        for index, node in enumerate(self.calls):
            if self.stage_of[node.name] != stage:
                continue

            def fetch(leaf: Any) -> Any:
                if not isinstance(leaf, fx.Node):
                    return leaf
                if leaf.op == "placeholder":
                    return images
                if leaf.op == "get_attr":
                    held = operator.attrgetter(str(leaf.target))(self.model)
                    return weights[self.canonical[str(leaf.target)]] if isinstance(held, nn.Parameter) else held
                return received[stage].get(leaf, made.get(leaf))

            torch.manual_seed(layer_seed(self.seed, index, self.before + minibatch))
            args: Any = map_aggregate(node.args, fetch)
            kwargs: Any = map_aggregate(node.kwargs, fetch)
            if node.op == "call_module":
                module = self.model.get_submodule(str(node.target))
                if getattr(module, "inplace", False) and any(arg in received[stage] for arg in node.all_input_nodes):
                    args = (args[0].clone(), *args[1:])
                own = {local: self._held(weights, f"{node.target}.{local}") for local, _ in module.named_parameters()}
                made[node] = torch.func.functional_call(module, own, args, kwargs)
            elif node.op == "call_method":
                made[node] = getattr(args[0], str(node.target))(*args[1:], **kwargs)
            else:
                target: Any = node.target
                made[node] = target(*args, **kwargs)
