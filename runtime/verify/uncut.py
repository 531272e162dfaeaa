"""Train the model itself, neither captured nor cut, as plain PyTorch does where a schedule is synchronous.

The model's own forward and backward run in this process. Two things are the pipeline's: the arithmetic of the update
rule, which tests hold against torch.optim, and the seed of each layer that draws random numbers, (run, layer,
minibatch). For the latter, operators that draw are counted layer by layer; in the model's own forward, the generator is
seeded before the first one of each layer.

A sum of gradients may be taken in another order where a cut lies between its terms, so a split agrees with the uncut
model in every bit or, for some models, within rounding.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from optimizer.schedule import groups
from profiler.capture import untouched
from profiler.execution import Captured, Moments, fetch_attribute, layer_seed, run_layer, write_next
from profiler.profile import INPUT, PLAIN_FORM
from runtime.pipeline import Execution
from runtime.verify.data_again import feed_again
from runtime.verify.replay import Trained


class Uncut:
    """What the uncut model trains, worked out when it is first asked for."""

    def __init__(self, execution: Execution, minibatches: int) -> None:
        """Train from the execution's initial weights on so many of its minibatches."""
        self._execution, self._minibatches = execution, minibatches

    @property
    def comparable(self) -> bool:
        """Whether pipelines train what it does: under synchronous schedules, in float32, with no layer cut inside."""
        captured = self._execution.captured
        flushes = self._execution.settings.pace.rule.synchronous
        return flushes and captured.form == PLAIN_FORM

    @cached_property
    def trained(self) -> Trained:
        """The losses of the uncut model, one a minibatch, and its weights and buffers at the end."""
        settings, feed = self._execution.settings, feed_again(self._execution, self._minibatches)
        captured = with_tensors(self._execution.captured, self._execution.initial_state())
        model, rule = captured.model, settings.rule
        learning = {path: own for path, own in model.named_parameters() if own.requires_grad}
        moments = {path: Moments.before_any(rule, own) for path, own in learning.items()}
        losses = []
        seeds = _LayerSeeds(captured, feed.inputs(0), settings.seed)
        for group in groups(self._minibatches, settings.pace.update_every):
            for minibatch in group:
                inputs = feed.inputs(minibatch).clone()  # which may be drawn now
                with seeds.of(minibatch):
                    returned = captured.inputs.call(model, inputs)
                targets = feed.targets(minibatch)
                loss = captured.loss.of(returned, targets)
                losses.append(float(loss.detach()))
                torch.autograd.backward(loss, torch.full_like(loss, 1 / len(group)))
            if rule.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), rule.clip_norm)
            with torch.no_grad():
                for path, weight in learning.items():
                    write_next(rule, weight, weight.grad, moments[path], out=weight)
                    weight.grad = None
        weights = {path: own.detach() for path, own in model.named_parameters()}
        return Trained(losses=losses, weights=weights, buffers=dict(model.named_buffers()), minibatch_digests=[])

    def error(self, losses: Sequence[float | None], state: Mapping[str, Tensor]) -> float | None:
        """Return the largest relative difference of a pipeline's losses, weights or buffers; None: not comparable.

        Args:
            losses: One a minibatch; None for one that is no finite number.
            state: The parameters and buffers at the end, by path.
        """
        if not self.comparable:
            return None
        ours, theirs = self.trained, torch.tensor([float("nan") if loss is None else loss for loss in losses])
        kinds = [[(theirs, torch.tensor(ours.losses))]]
        kinds += [[(state[path], tensor) for path, tensor in own.items()] for own in (ours.weights, ours.buffers)]
        return max(_difference(pairs) for pairs in kinds)


def _difference(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the largest difference within pairs, relative to the largest element of all; what is NaN in both agrees.

    Relative to its own elements, a bias of rounding alone, as one before batch norm, would differ by all it has.
    """
    most = scale = 0.0
    for tensor, other in pairs:
        if tensor.numel():
            first, second = (own.detach().double() for own in (tensor, other))
            agree = (first == second) | (first.isnan() & second.isnan())
            gaps = (first - second).abs().masked_fill(agree, 0).nan_to_num(nan=float("inf"), posinf=float("inf"))
            finite = second.nan_to_num(posinf=0, neginf=0)
            most, scale = max(most, float(gaps.max())), max(scale, float(finite.abs().max()))
    return most / scale if scale else most


def with_tensors(captured: Captured, state: Mapping[str, Tensor]) -> Captured:
    """Return a copy of a captured model that has shapes only, with the tensors in ``state`` in their place."""
    tensors: dict[int, Any] = {}
    for path, own in (*captured.model.named_parameters(), *captured.model.named_buffers()):
        whole = state[path]
        tensors[id(own)] = nn.Parameter(whole, own.requires_grad) if isinstance(own, nn.Parameter) else whole
    return copy.deepcopy(captured, tensors)


class _LayerSeeds:
    """The seeds of the layers that draw, in the order in which the model's own forward comes to them."""

    def __init__(self, captured: Captured, inputs: Tensor, seed: int) -> None:
        """Count by one forward of the captured layers on ``inputs`` which of them draw how often."""
        self._seed, self._layers = seed, list(_drawing(captured, inputs))

    def of(self, minibatch: int) -> "_Seeding":
        """Return the context that a minibatch's forward runs in."""
        return _Seeding([layer_seed(self._seed, layer, minibatch) if first else None for layer, first in self._layers])


def _drawing(captured: Captured, inputs: Tensor) -> Iterator[tuple[int, bool]]:
    """Yield for each operator that draws the index of its layer, and whether it is the first of that."""
    values: dict[str, Any] = {INPUT: inputs.clone()}
    paths = {path for operation in captured.operations for path in operation.attributes()}
    attributes = {path: fetch_attribute(captured.model, path) for path in paths}
    with untouched(captured.model), torch.no_grad():
        for operation in captured.operations:
            with _Seeding([]) as draws:
                run_layer(operation, values, attributes, 0, 0)
            yield from ((operation.index, number == 0) for number in range(draws.count))


class _Seeding(TorchDispatchMode):
    """Counts operators that draw random numbers, and seeds torch's generator before some of them."""

    def __init__(self, seeds: Sequence[int | None]) -> None:
        """Before the operator of each place in ``seeds``, seed the generator if a seed stands there."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._seeds, self.count = seeds, 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator; if it draws random numbers, count it, and first seed the generator where a seed is given."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            seed = self._seeds[self.count] if self.count < len(self._seeds) else None
            if seed is not None:
                torch.default_generator.manual_seed(seed)
            self.count += 1
        return func(*args, **(kwargs or {}))
