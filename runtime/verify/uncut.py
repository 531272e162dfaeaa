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
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from optimizer.schedule import groups
from profiler.capture import untouched
from profiler.execution import Captured, Moments, fetch_attribute, layer_seed, run_layer, write_next
from profiler.profile import INPUT, PLAIN_FORM
from runtime.pipeline import Execution
from runtime.verify.replay import Pairs, Trained


class Uncut:
    """What the uncut model trains, worked out when it is first asked for."""

    def __init__(self, execution: Execution) -> None:
        """Train from the execution's initial weights, as its settings say."""
        self._execution = execution
        self._trained: Trained | None = None

    def error(self, pairs: Pairs, losses: Sequence[float | None], state: Mapping[str, Tensor]) -> float | None:
        """Return the largest relative difference of a pipeline's losses, weights or buffers.

        None where pipelines train something else: under asynchronous schedules, in bfloat16, with a layer cut inside.

        Args:
            pairs: The minibatches, the same at each call.
            losses: One a minibatch; None for one that is no finite number.
            state: The parameters and buffers at the end, by path.
        """
        captured = self._execution.captured
        if not self._execution.settings.pace.rule.synchronous or captured.form != PLAIN_FORM:
            return None
        self._trained = ours = self._trained or self._train(pairs)
        theirs = torch.tensor([float("nan") if loss is None else loss for loss in losses])
        kinds = [[(theirs, torch.tensor(ours.losses))]]
        named = (captured.model.named_parameters(), captured.model.named_buffers())
        kinds += [[(state[path], ours.state[path]) for path, _ in own] for own in named]
        return max(_difference(own) for own in kinds)

    def _train(self, pairs: Pairs) -> Trained:
        settings = self._execution.settings
        captured = with_tensors(self._execution.captured, self._execution.initial_state())
        model, rule = captured.model, settings.rule
        learning = {path: own for path, own in model.named_parameters() if own.requires_grad}
        moments = {path: Moments.before_any(rule, own) for path, own in learning.items()}
        losses = []
        layers = list(_drawing(captured, pairs[0][0]))
        for group in groups(len(pairs), settings.pace.update_every):
            for minibatch in group:
                inputs, targets = pairs[minibatch]
                seeds = [layer_seed(settings.seed, layer, minibatch) if first else None for layer, first in layers]
                with _Seeding(seeds):
                    returned = captured.inputs.call(model, inputs.clone())
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
        return Trained(losses, weights | dict(model.named_buffers()))


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
