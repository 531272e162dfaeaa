"""A profile's costs in the words of the cost model, for the check: on names, sets and networkx graphs.

Nothing here is shared with the search; ``costs`` and ``memory`` state the same model as formulas.
"""

from collections.abc import Iterable
from statistics import median

import networkx as nx

from optimizer.plan import Plan, StageBytes
from profiler.profile import INPUT, Layer, ModelCosts, Timing


class Words:
    """A profile's layers, edges and values, by name; times in nanoseconds."""

    def __init__(self, model: ModelCosts, schedule: str, update_every: int) -> None:
        """Read what the model costs in its form, for a schedule with an update every so many minibatches."""
        self.model, self.schedule, self.update_every = model, schedule, update_every
        self.layers: dict[str, Layer] = {layer.name: layer for layer in model.layers}
        self.whole = {layer.name: layer for layer in model.whole}
        self.forward_ns = {name: nanoseconds(layer.forward_s) for name, layer in self.layers.items()}
        self.compute_ns = {
            name: self.forward_ns[name] + nanoseconds(layer.backward_s) for name, layer in self.layers.items()
        }
        self.beside_ns = {name: nanoseconds(layer.update_s) for name, layer in self.layers.items()}
        self.in_place_ns = {
            name: nanoseconds(layer.update_s * layer.in_place_share) for name, layer in self.layers.items()
        }
        self.adding_ns = {
            name: max(nanoseconds(layer.accumulate_s), -nanoseconds(layer.backward_s))
            for name, layer in self.layers.items()
        }
        self.work_ns = {name: self.compute_ns[name] + self._updating_ns(name) for name in self.layers}
        self.saving_ns = {
            name: self.beside_ns[name] - self.in_place_ns[name] if schedule == "1f1b" else 0 for name in self.layers
        }
        self.loss_forward_ns = nanoseconds(model.loss.forward_s)
        self.loss_ns = self.loss_forward_ns + nanoseconds(model.loss.backward_s)
        self.graph: nx.DiGraph[str] = nx.DiGraph()
        self.graph.add_nodes_from(self.layers)
        self.graph.add_edges_from((edge.source, edge.target) for edge in model.edges if edge.source != INPUT)
        self.readers: dict[str, set[str]] = {name: set() for name in [INPUT, *self.layers]}
        for edge in model.edges:
            if edge.kind == "data":
                self.readers[edge.source].add(edge.target)
        names = [INPUT, *self.layers]
        self.down_ns = {name: nanoseconds(model.profile.copy_cost.seconds(self.down_bytes(name))) for name in names}
        self.up_ns = {name: nanoseconds(model.profile.copy_cost.seconds(self.up_bytes(name))) for name in names}

    def in_place(self, *, last: bool) -> bool:
        """Say whether a stage holds one weight version, so that it updates in place."""
        return self.schedule not in {"1f1b", "2bw"} or (self.schedule == "1f1b" and last)

    def _updating_ns(self, name: str) -> int:
        """Return what adding up gradients and a share of an update come to a minibatch."""
        every = self.update_every
        update_ns = (self.beside_ns if self.schedule in {"1f1b", "2bw"} else self.in_place_ns)[name]
        return round(self.adding_ns[name] * (every - 1) / every) + round(update_ns / every)

    def crossing(self, before: set[str]) -> list[str]:
        """Return the values made in ``before``, or put in, and read outside it, the loss being outside."""
        if not before or len(before) == len(self.layers):
            return []
        heads = set(self.model.outputs)
        made = [INPUT, *(name for name in self.layers if name in before)]
        return [name for name in made if self.readers[name] - before or name in heads]

    def down_bytes(self, value: str) -> int:
        """Return the size of a value."""
        return self.model.profile.input_bytes if value == INPUT else self.layers[value].output_bytes

    def up_bytes(self, value: str) -> int:
        """Return the size of the gradient that comes back for a value."""
        return 0 if value == INPUT else self.layers[value].gradient_bytes

    def slot_bytes(self, value: str) -> int:
        """Return what a value takes in the slots of a minibatch, down and up."""
        return self.down_bytes(value) + self.up_bytes(value)

    def counts(self, plan: Plan, stage: int) -> tuple[int, int, int, int]:
        """Return a stage's minibatches in flight, copies of what learns beside the weights, slots on either side."""
        minibatches, every = plan.predicted.minibatches, self.update_every
        flying = [min(plan.num_stages - stage, minibatches) for stage in range(plan.num_stages)]
        if self.schedule == "gpipe":
            flying = [min(every, minibatches)] * plan.num_stages
        elif self.schedule not in {"1f1b", "2bw"}:
            flying = [min(own, every) for own in flying]
        versions = {"1f1b": flying[stage], "2bw": 2 if minibatches > every else 1}.get(self.schedule, 1)
        before = flying[stage - 1] if stage else 0
        behind = flying[stage] if stage < plan.num_stages - 1 else 0
        return flying[stage], versions + self.model.profile.momenta, before, behind

    def shared(self, flying: int, copies: int) -> int:
        """Return by how many there are more minibatches in flight than weight versions."""
        return flying - (copies - self.model.profile.momenta)

    def held(self, before: set[str], through: set[str]) -> StageBytes:
        """Return what the layers of a stage hold, counted once."""
        own = [self.layers[name] for name in through - before]
        learning = sum(layer.learning_bytes for layer in own)
        down = self.crossing(through)
        return StageBytes(
            frozen_bytes=sum(layer.parameter_bytes for layer in own) - learning,
            learning_bytes=learning,
            saved_bytes=sum(layer.saved_bytes for layer in own),
            cast_bytes=sum(layer.cast_bytes for layer in own),
            transient_bytes=max(layer.transient_bytes for layer in own) + self.model.profile.heap_bytes,
            activation_bytes=sum(map(self.down_bytes, down)),
            gradient_bytes=sum(map(self.up_bytes, down)),
        )

    def noise(self, layers: Iterable[str], *, last: bool) -> list[float]:
        """Return by what factor a stage took longer in each round than its layers are taken to, a drift aside."""
        rounds = {
            name: _rounds_s(
                (layer.forward, layer.forward_s), (layer.backward, layer.backward_s), (layer.update, layer.update_s)
            )
            for name, layer in self.whole.items()
        }
        part = self.model.loss
        loss = _rounds_s((part.forward, part.forward_s), (part.backward, part.backward_s))
        count = len(loss)
        if count < 2 or any(len(own) != count for own in rounds.values()):
            return []
        totals = [loss[at] + sum(own[at] for own in rounds.values()) for at in range(count)]
        usual_s = sum(map(_step_s, self.whole.values())) + part.step_s
        cost_s, took = (part.step_s, loss) if last else (0.0, [0.0] * count)
        for layer in map(self.layers.__getitem__, layers):
            cost_s += _step_s(layer)
            source = self.whole[layer.part_of or layer.name]
            if _step_s(source):
                share = _step_s(layer) / _step_s(source)
                took = [before + share * more for before, more in zip(took, rounds[source.name], strict=True)]
        if not cost_s:
            return [1.0] * count
        near = [median(totals[max(0, at - 3) : at + 4]) for at in range(count)]
        return [own * usual_s / (cost_s * pace) for own, pace in zip(took, near, strict=True)]

    def eases(self, plan: Plan) -> list[tuple[float, float]]:
        """Return what each stage takes over what it costs, with the doubt: its neighbours are stages."""
        model, stages = self.model, range(plan.num_stages)
        known = all(layer.alone_s is not None for layer in self.whole.values()) and model.loss.alone_s is not None
        neighbours = model.profile.neighbours
        if not known or not neighbours or not any(stage.total_s for stage in plan.stages):
            return [(1.0, 0.0) for _ in stages]

        def pair(name: str) -> tuple[float, float]:
            layer = self.layers[name]
            source = self.whole[layer.part_of or name]
            beside = _step_s(layer)
            return beside, beside * (source.alone_s or 0.0) / _step_s(source) if _step_s(source) else beside

        slower = []
        for number, stage in enumerate(plan.stages):
            times = [pair(name) for name in stage.layers]
            if number == plan.num_stages - 1:
                times.append((model.loss.step_s, model.loss.alone_s or 0.0))
            beside, alone = (sum(own) for own in zip(*times, strict=True))
            slower.append(max(0.0, beside / alone - 1) if alone else 0.0)
        eases = [1.0 for _ in stages]
        for _ in range(20):
            took = [stage.total_s * ease for stage, ease in zip(plan.stages, eases, strict=True)]
            mean = sum(time * own for time, own in zip(took, slower, strict=True)) / sum(took)
            eases = []
            for own in stages:
                others = [at for at in stages if at != own]
                beside = sum(took[at] * slower[at] for at in others)
                if len(others) > neighbours:
                    beside /= sum(took[at] for at in others) or 1.0
                else:
                    beside /= max(took) * neighbours
                eases.append((1 + slower[own] * (beside / mean if mean else 0.0)) / (1 + slower[own]))
        return [(ease, (1 - 1 / (1 + own)) / 2) for ease, own in zip(eases, slower, strict=True)]

    def memory_bytes(self, plan: Plan, stage: int, before: set[str], through: set[str]) -> int:
        """Return what a stage needs: w versions and the gradient of what learns come to w beside the weights."""
        flying, copies, slots_before, slots_behind = self.counts(plan, stage)
        layers = [self.layers[name] for name in through - before]
        needed = sum(
            layer.parameter_bytes + layer.learning_bytes * copies + layer.saved_bytes * flying for layer in layers
        )
        needed -= sum(layer.cast_bytes for layer in layers) * self.shared(flying, copies)
        needed += sum(map(self.slot_bytes, self.crossing(before))) * slots_before
        needed += sum(map(self.slot_bytes, self.crossing(through))) * slots_behind
        return needed + max(layer.transient_bytes for layer in layers) + self.model.profile.heap_bytes

    def needed(self, names: Iterable[str]) -> set[str]:
        """Return the smallest set that holds ``names``, what they need, and no part of a group."""
        graph = self.glued()
        return {ancestor for name in names for ancestor in nx.ancestors(graph, name) | {name}}

    def simple_bound_ns(self, stages: int) -> int:
        """Return what no split falls below: an even share of the whole, and the largest part that stays together."""
        least_ns = {name: work - max(0, self.saving_ns[name]) for name, work in self.work_ns.items()}
        parts_ns = [sum(map(least_ns.__getitem__, part)) for part in nx.strongly_connected_components(self.glued())]
        return max(-(-(sum(parts_ns) + self.loss_ns) // stages), *parts_ns)

    def glued(self) -> "nx.DiGraph[str]":
        """Return the graph with a cycle through each group that has to stay together."""
        graph = self.graph.copy()
        for group in self.model.inseparable:
            nx.add_cycle(graph, group)
        return graph


def _step_s(layer: Layer) -> float:
    return layer.forward_s + layer.backward_s + layer.update_s


def _rounds_s(*timings: tuple[Timing | None, float]) -> list[float]:
    """Return what some times were together, round by round, each with its cost in the middle; if they are kept."""
    rows = [
        [time_s * (cost_s / timing.median_s if timing.median_s else 1.0) for time_s in timing.samples_s]
        for timing, cost_s in timings
        if timing
    ]
    return [sum(times) for times in zip(*rows, strict=True)] if rows else []


def nanoseconds(seconds: float) -> int:
    """Return ``seconds`` in whole nanoseconds."""
    return round(seconds * 1e9)
