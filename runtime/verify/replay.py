"""Replay a pipeline's recurrence in one process, with nothing of what makes the pipeline hard: no rings, no slots.

Minibatch b runs stage s, forward and backward, on weight version v(s, b), and its gradients (where several share
an update, the mean of theirs) make the next version from the newest one:

    1f1b           v(s, b) = max(0, b − d_s + 1),  d_s = min(S − s, B)       an update a minibatch
    synchronous    v(s, b) = ⌊b ÷ M⌋                                         an update M minibatches

Every version is a tensor of its own that is never written again; a layer is called through ``torch.func`` on fresh
leaves; what crosses a cut is copied into fresh memory. The formulas stand here on their own: the pipeline finds its
versions by walking its schedule. The seeds of layers, the update rule's arithmetic, the loss and the data are shared
with the pipeline, for they define what is trained.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import map_aggregate

from optimizer.schedule import Pace
from profiler.execution import Attribute, Captured, Moments, Operation, Ref, Size, layer_seed, write_next
from profiler.profile import INPUT
from profiler.settings import UpdateRule

Values = dict[str, Any]
Pairs = Sequence[tuple[Tensor, Tensor]]
"""Minibatches: inputs ``(N, …)`` and targets ``(N, …)``."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The losses, and the newest parameters and buffers by path."""

    losses: list[float]
    state: dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """The recurrence that a schedule trains: each minibatch's weight version, and the minibatches of each update."""

    pace: Pace
    stages: int
    minibatches: int

    def version(self, stage: int, minibatch: int) -> int:
        """Return v(s, b)."""
        if self.pace.rule.synchronous:
            return minibatch // self.pace.update_every
        return max(0, minibatch - min(self.stages - stage, self.minibatches) + 1)

    def ends_update(self, minibatch: int) -> bool:
        """Say whether a minibatch is the last that shares its update."""
        return (minibatch + 1) % self.pace.update_every == 0 or minibatch + 1 == self.minibatches

    def share(self, minibatch: int) -> float:
        """Return what the loss counts where minibatches share an update."""
        first = minibatch // self.pace.update_every * self.pace.update_every
        return 1 / min(self.pace.update_every, self.minibatches - first)


class Replay:
    """One replay of one split."""

    def __init__(
        self,
        captured: Captured,
        stage_of: Mapping[str, int],
        state: Mapping[str, Tensor],
        rule: UpdateRule,
        recurrence: Recurrence,
    ) -> None:
        """Prepare to train.

        Args:
            captured: The model.
            stage_of: The stage of each layer.
            state: The parameters and buffers that training starts from; buffers are changed.
            rule: The update rule.
            recurrence: What the schedule trains.
        """
        self.captured, self.stage_of, self.rule, self.recurrence = captured, stage_of, rule, recurrence
        self._modules = {id(module): f"{path}." if path else "" for path, module in captured.model.named_modules()}
        self._home = dict(self._homes())
        learning = [path for path in self._home if path in captured.learning]
        self._versions: dict[str, dict[int, Tensor]] = {path: {0: state[path]} for path in learning}
        self._moments = {path: Moments.before_any(rule, state[path]) for path in learning}
        self._constants = {path: tensor for path, tensor in state.items() if path not in learning}

    def run(self, pairs: Pairs, seed: int, advance: Callable[[], None]) -> Trained:
        """Train on the recurrence's minibatches; ``advance`` is called after each."""
        losses: list[float] = []
        sums: dict[str, Tensor] = {}
        for minibatch, (inputs, targets) in enumerate(pairs):
            gradients, loss = self._step(minibatch, inputs, targets, seed)
            for path, gradient in gradients.items():
                sums[path] = sums[path] + gradient if path in sums else gradient
            losses.append(loss)
            if self.recurrence.ends_update(minibatch):
                if self.rule.clip_norm:
                    self._bound_norm(sums)
                self._update(sums, minibatch)
                sums = {}
            advance()
        newest = {path: versions[max(versions)] for path, versions in self._versions.items()}
        return Trained(losses, newest | self._constants)

    def _step(self, minibatch: int, inputs: Tensor, targets: Tensor, seed: int) -> tuple[dict[str, Tensor], float]:
        """Run one minibatch forth and back; return its gradients and its loss."""
        leaves = {
            path: versions[self.recurrence.version(self._home[path], minibatch)].detach().requires_grad_()
            for path, versions in self._versions.items()
        }
        received: Values = {INPUT: inputs}
        stages: list[tuple[Values, Values]] = []  # what each received, and what it has then
        for stage in range(self.recurrence.stages):
            values = dict(received)
            with torch.autocast("cpu", torch.bfloat16, enabled=False):  # within which a weight is cast once
                for operation in self.captured.operations:
                    if self.stage_of[operation.name] == stage:
                        torch.manual_seed(layer_seed(seed, operation.index, minibatch))
                        self._call(operation, values, leaves)
            stages.append((received, values))
            received = {name: self._copied(values[name], name) for name in self._crossing(stage)}
        outputs = [stages[-1][1][name] for name in self.captured.outputs]
        loss = self.captured.loss(outputs, targets)
        torch.autograd.backward(loss, torch.full_like(loss, self.recurrence.share(minibatch)))
        for (_, values), (copies, _) in reversed(list(pairwise(stages))):
            crossing = [name for name in copies if self.captured.specs[name].gradient]
            if crossing:
                arrived = [self._gradient(copies[name], name) for name in crossing]
                torch.autograd.backward([values[name] for name in crossing], arrived)
        gradients = {path: leaf.grad for path, leaf in leaves.items() if leaf.grad is not None}
        return gradients, float(loss.detach())

    def _call(self, operation: Operation, values: Values, leaves: Mapping[str, Tensor]) -> None:
        """Run one layer; one that overwrites what another stage made works on a copy."""
        overwritten, stage = self.captured.overwrites.get(operation.name), self.stage_of[operation.name]

        def fetch(leaf: Any) -> Any:
            if isinstance(leaf, Ref):
                value = values[leaf.layer]
                foreign = overwritten == leaf.layer and self.stage_of.get(self.captured.roots[leaf.layer]) != stage
                lower = operation.autocast == "off" and getattr(value, "dtype", None) == torch.bfloat16
                value = value.to(torch.float32) if lower else value
                return value.clone() if foreign else value
            if isinstance(leaf, Size):
                return leaf.of(values[leaf.layer])
            return self._bound(leaf.path, leaves) if isinstance(leaf, Attribute) else leaf

        args: Any = map_aggregate(operation.args, fetch)
        kwargs: Any = map_aggregate(dict(operation.kwargs), fetch)
        target = operation.target
        with torch.autocast("cpu", torch.bfloat16, enabled=operation.autocast == "on"):
            if isinstance(target, nn.Module):
                own = {local: self._bound(path, leaves) for local, path in self._held(target)}
                value = torch.func.functional_call(target, own, args, kwargs, tie_weights=False)
            elif isinstance(target, str):
                value = getattr(args[0], target)(*args[1:], **kwargs)
            else:
                value = target(*args, **kwargs)
        values[operation.name] = value

    def _held(self, module: nn.Module) -> Iterator[tuple[str, str]]:
        """Yield the parameters and buffers of a module, by their names in it and in the model."""
        for named in (module.named_parameters, module.named_buffers):
            for local, _ in named(remove_duplicate=False):
                yield local, self._modules[id(module)] + local

    def _homes(self) -> Iterator[tuple[str, int]]:
        """Yield the stage of each parameter and buffer that some layer uses, by its first path."""
        for operation in self.captured.operations:
            target = operation.target
            held = [path for _, path in self._held(target)] if isinstance(target, nn.Module) else []
            for path in (*operation.attributes(), *held):
                yield self.captured.canonical[path], self.stage_of[operation.name]

    def _bound(self, path: str, leaves: Mapping[str, Tensor]) -> Tensor:
        canonical = self.captured.canonical[path]
        return leaves[canonical] if canonical in leaves else self._constants[canonical]

    def _copied(self, tensor: Tensor, name: str) -> Tensor:
        """Return a fresh leaf with what ``tensor`` holds."""
        return self._laid_out(tensor.detach(), name).requires_grad_(self.captured.specs[name].gradient)

    def _gradient(self, leaf: Tensor, name: str) -> Tensor:
        """Return a copy of the gradient of what was received; zeros where nothing depends on it."""
        return torch.zeros_like(leaf) if leaf.grad is None else self._laid_out(leaf.grad, name)

    def _laid_out(self, tensor: Tensor, name: str) -> Tensor:
        """Return a copy in the memory format of the captured value; that of an uneven minibatch keeps its own."""
        spec = self.captured.specs[name]
        if tensor.shape != spec.shape:
            return tensor.clone()
        return torch.empty_strided(spec.shape, spec.stride, dtype=spec.dtype).copy_(tensor)

    def _crossing(self, cut: int) -> list[str]:
        """Return what is made up to stage ``cut``, or put in, and read behind it."""
        readers: dict[str, int] = dict.fromkeys(self.captured.outputs, self.recurrence.stages - 1)
        for edge in self.captured.edges:
            if edge.kind == "data":
                readers[edge.source] = max(readers.get(edge.source, 0), self.stage_of[edge.target])
        made = [INPUT, *self.captured.layer_names]
        return [name for name in made if self.stage_of.get(name, 0) <= cut < readers.get(name, -1)]

    def _update(self, gradients: Mapping[str, Tensor], minibatch: int) -> None:
        """Make the next version of every weight, and forget those that no minibatch will use."""
        for path, versions in self._versions.items():
            newest = max(versions)
            following = torch.empty_like(versions[newest])
            write_next(self.rule, versions[newest], gradients.get(path), self._moments[path], out=following)
            versions[newest + 1] = following
            needed = self.recurrence.version(self._home[path], minibatch + 1)
            for old in [version for version in versions if version < needed]:
                del versions[old]

    def _bound_norm(self, sums: Mapping[str, Tensor]) -> None:
        """Let torch bound the norm of all gradients, in the order of the model's parameters."""
        holders = []
        for path in (path for path, _ in self.captured.model.named_parameters() if path in sums):
            holders.append(nn.Parameter(torch.empty_like(sums[path])))
            holders[-1].grad = sums[path]
        nn.utils.clip_grad_norm_(holders, self.rule.clip_norm)
