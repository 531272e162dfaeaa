"""Replay a pipeline's recurrence in one process, with nothing of what makes the pipeline hard: no rings, no slots.

Minibatch b runs stage s, forward and backward, on weight version v(s, b), and its gradients (where several share
an update, the mean of theirs) make the next version from the newest one:

    1f1b           v(s, b) = max(0, b − d_s + 1),  d_s = min(S − s, B)       an update a minibatch
    synchronous    v(s, b) = ⌊b ÷ M⌋                                         an update M minibatches

Every version is a tensor of its own that is never written again; a layer is called through ``torch.func`` on fresh
leaves; what crosses a cut is copied into fresh memory. The formulas stand here on their own: the pipeline finds its
versions by walking its schedule. Layer execution with its seeds, the update rule's arithmetic, the loss and the data
are shared with the pipeline, for they define what is trained.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.fx.node import map_aggregate

from optimizer.schedule import Pace
from profiler.execution import (
    Attribute,
    Captured,
    Moments,
    Operation,
    Ref,
    Size,
    layer_seed,
    write_next,
)
from profiler.profile import INPUT
from profiler.settings import UpdateRule
from runtime.worker import MinibatchDigests, digests

Values = dict[str, Any]


class Minibatches(Protocol):
    """The minibatches to train on, by their number."""

    def inputs(self, minibatch: int) -> Tensor:
        """Return the inputs of a minibatch, ``(N, …)``."""

    def targets(self, minibatch: int) -> Tensor:
        """Return its targets, ``(N, …)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The losses, newest weights and buffers of a replay, and the digests of each minibatch in each stage."""

    losses: list[float]
    weights: dict[str, Tensor]
    buffers: dict[str, Tensor]
    minibatch_digests: list[list[MinibatchDigests]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """The recurrence that a schedule trains: each minibatch's weight version, and the minibatches of each update."""

    pace: Pace
    stages: int
    minibatches: int

    def version(self, stage: int, minibatch: int) -> int:
        """Return v(s, b)."""
        group = minibatch // self.pace.update_every
        if self.pace.rule.synchronous:
            return group
        return max(0, minibatch - self._depth(stage) + 1)

    def _depth(self, stage: int) -> int:
        """Return d_s."""
        return min(self.stages - stage, self.minibatches)

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
        self._home = dict(_homes(captured, stage_of))
        learning = [path for path in self._home if path in captured.learning]
        self._versions: dict[str, dict[int, Tensor]] = {path: {0: state[path]} for path in learning}
        self._moments = {path: Moments.before_any(rule, state[path]) for path in learning}
        self._constants = {path: state[path] for path in self._home if path not in captured.learning}
        self._unused = {path: tensor for path, tensor in state.items() if path not in self._home}
        self._modules = {id(module): f"{path}." if path else "" for path, module in captured.model.named_modules()}

    def run(self, feed: Minibatches, seed: int, advance: Callable[[], None]) -> Trained:
        """Train for the recurrence's minibatches; ``advance`` is called after each."""
        losses, minibatch_digests = [], []
        sums: dict[str, Tensor] = {}
        for minibatch in range(self.recurrence.minibatches):
            record, loss_value, buffers = self._step(minibatch, feed, seed, self.recurrence.share(minibatch))
            for path, gradient in record.items():
                sums[path] = sums[path] + gradient if path in sums else gradient
            losses.append(loss_value)
            ends = self.recurrence.ends_update(minibatch)
            # Where backwards are split, gradients are those of whole minibatches only before an update.
            known = sums if ends or not self.recurrence.pace.rule.splits else {}
            minibatch_digests.append(self._minibatch_digests(known, buffers))
            if ends:
                if self.rule.clip_norm:
                    self._bound_norm(sums)
                for stage in range(self.recurrence.stages):
                    self._update(stage, sums, minibatch)
            advance()
        newest = {path: versions[max(versions)] for path, versions in self._versions.items()}
        state = newest | self._constants | self._unused
        weights = {path: state[path] for path, _ in self.captured.model.named_parameters()}
        rest = {path: state[path] for path, _ in self.captured.model.named_buffers()}
        return Trained(losses=losses, weights=weights, buffers=rest, minibatch_digests=minibatch_digests)

    def _step(
        self, minibatch: int, feed: Minibatches, seed: int, share: float
    ) -> tuple[dict[str, Tensor], float, dict[str, str]]:
        """Run one minibatch forth and back; return its gradients, its loss, and the buffers' digests."""
        leaves = {
            path: versions[self.recurrence.version(self._home[path], minibatch)].detach().requires_grad_()
            for path, versions in self._versions.items()
        }
        stages = self.recurrence.stages
        received: list[Values] = [{} for _ in range(stages)]
        received[0] = {INPUT: feed.inputs(minibatch)}
        sent: list[Values] = []
        for stage in range(stages):
            values = dict(received[stage])
            with torch.autocast("cpu", torch.bfloat16, enabled=False):  # within which a weight is cast once
                for operation in self.captured.operations:
                    if self.stage_of[operation.name] == stage:
                        self._call(operation, values, leaves, place=(seed, minibatch))
            sent.append(values)
            if stage < stages - 1:
                received[stage + 1] = {name: self._copied(values[name], name) for name in self._crossing(stage)}
        buffers = digests(self._constants)
        outputs = [sent[-1][name] for name in self.captured.outputs]
        result = self.captured.loss(outputs, feed.targets(minibatch))
        torch.autograd.backward(result, torch.full_like(result, share))
        for stage in reversed(range(stages - 1)):
            crossing = [name for name in self._crossing(stage) if self.captured.specs[name].gradient]
            back = [received[stage + 1][name].grad for name in crossing]
            arrived = [
                torch.zeros_like(received[stage + 1][name]) if gradient is None else self._laid_out(gradient, name)
                for name, gradient in zip(crossing, back, strict=True)
            ]
            if crossing:
                torch.autograd.backward([sent[stage][name] for name in crossing], arrived)
        gradients = {path: leaf.grad for path, leaf in leaves.items() if leaf.grad is not None}
        return gradients, float(result.detach()), buffers

    def _call(
        self,
        operation: Operation,
        values: Values,
        leaves: Mapping[str, Tensor],
        *,
        place: tuple[int, int],
    ) -> None:
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

        seed, minibatch = place
        torch.manual_seed(layer_seed(seed, operation.index, minibatch))
        args: Any = map_aggregate(operation.args, fetch)
        kwargs: Any = map_aggregate(dict(operation.kwargs), fetch)
        with torch.autocast("cpu", torch.bfloat16, enabled=operation.autocast == "on"):
            values[operation.name] = self._output(operation, args, kwargs, leaves)

    def _output(self, operation: Operation, args: Any, kwargs: Any, leaves: Mapping[str, Tensor]) -> Any:
        """Return what a layer makes of its arguments with the weights of a minibatch."""
        target = operation.target
        if isinstance(target, nn.Module):
            own = {
                local: self._bound(self._modules[id(target)] + local, leaves)
                for local, _ in [
                    *target.named_parameters(remove_duplicate=False), *target.named_buffers(remove_duplicate=False),
                ]
            }  # fmt: skip
            return torch.func.functional_call(target, own, args, kwargs, tie_weights=False)
        if isinstance(target, str):
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)

    def _bound(self, path: str, leaves: Mapping[str, Tensor]) -> Tensor:
        canonical = self.captured.canonical[path]
        return leaves[canonical] if canonical in leaves else self._constants[canonical]

    def _copied(self, tensor: Tensor, name: str) -> Tensor:
        """Return a fresh leaf with what ``tensor`` holds."""
        return self._laid_out(tensor.detach(), name).requires_grad_(self.captured.specs[name].gradient)

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

    def _update(self, stage: int, sums: dict[str, Tensor], minibatch: int) -> None:
        """Make a stage's next version, and begin new sums for it."""
        own = [path for path in self._versions if self._home[path] == stage]
        gradients = {path: sums.pop(path) for path in own if path in sums}
        for path in own:
            versions, gradient = self._versions[path], gradients.get(path)
            newest = max(versions)
            weight, moments, following = versions[newest], self._moments[path], torch.empty_like(versions[newest])
            write_next(self.rule, weight, gradient, moments, out=following)
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

    def _minibatch_digests(self, gradients: Mapping[str, Tensor], buffers: Mapping[str, str]) -> list[MinibatchDigests]:
        digest_of = digests(gradients)
        return [
            MinibatchDigests(gradients=self._of_stage(digest_of, stage), buffers=self._of_stage(buffers, stage))
            for stage in range(self.recurrence.stages)
        ]

    def _of_stage(self, digest_of: Mapping[str, str], stage: int) -> dict[str, str]:
        return {path: value for path, value in digest_of.items() if self._home[path] == stage}


def _homes(captured: Captured, stage_of: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the stage of each parameter and buffer that some layer uses, by its first path."""
    paths = {id(module): f"{path}." if path else "" for path, module in captured.model.named_modules()}
    for operation in captured.operations:
        stage = stage_of[operation.name]
        used: Sequence[str] = operation.attributes()
        if isinstance(operation.target, nn.Module):
            prefix = paths[id(operation.target)]
            named = dict(operation.target.named_parameters(remove_duplicate=False))
            buffers = dict(operation.target.named_buffers(remove_duplicate=False))
            used = [*used, *(prefix + local for local in (*named, *buffers))]
        for path in used:
            yield captured.canonical[path], stage
