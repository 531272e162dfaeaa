"""How much less a stage takes than beside neighbours that are always busy with the whole model, as its profile was.

The profile has each layer beside N neighbours that train the whole model, c_l, and beside none, a_l. In a pipeline a
stage's neighbours are other stages: busy for a share of the time only, and with their own layers, of which those slow
others down most that are slowed down most themselves, for they use the memory most. With k_s = Σc ÷ Σa − 1 over a
stage's layers, k over all layers, and u_t the share of the period in which stage t is busy,

    ease_s = ( 1 + k_s · mean over t ≠ s of u_t · k_t ÷ k ) ÷ ( 1 + k_s )

and u follows from the stages' times, which are their costs times their ease: worked out in turns. Where stages
outnumber the busy cores of the profile they take turns, and what a stage has beside it is always busy: u = 1, and the
mean counts each other stage with its time.
"""

from collections.abc import Sequence

from profiler.profile import Layer, Loss, ModelCosts

TURNS = 20


class Crowding:
    """What each layer of a model takes beside busy neighbours and beside none, in one form."""

    def __init__(self, model: ModelCosts) -> None:
        """Take the times from a model's costs; where some are not known, nothing is eased."""
        whole = {layer.name: layer for layer in (*model.layers, *model.uncut) if not layer.part_of}
        self._neighbours = model.profile.neighbours
        parts: list[Layer | Loss] = [*whole.values(), model.loss]
        self.known = bool(self._neighbours) and all(part.alone_s is not None for part in parts)
        self._beside_s = {layer.name: layer.step_s for layer in model.layers}
        self._alone_s = {
            layer.name: layer.step_s * _share(whole.get(layer.part_of or layer.name)) for layer in model.layers
        }
        self._loss_s = (model.loss.step_s, model.loss.alone_s or 0.0)
        self._all = _slower(sum(map(_step_s, parts)), sum(part.alone_s or 0.0 for part in parts))

    def eases(self, stages: Sequence[Sequence[str]], costs_s: Sequence[float]) -> tuple[float, ...]:
        """Return the ease of each stage; 1 for all where the profile does not tell.

        Args:
            stages: The layers of each.
            costs_s: What a minibatch costs each beside busy neighbours.
        """
        slower = [self._stage(layers, last=number == len(stages) - 1) for number, layers in enumerate(stages)]
        eases = [1.0] * len(stages)
        if not self.known or not self._all or len(stages) == 1 or not max(costs_s):
            return tuple(eases)
        for _ in range(TURNS):
            took_s = [cost_s * ease for cost_s, ease in zip(costs_s, eases, strict=True)]
            eases = [self._ease(stage, slower, took_s) for stage in range(len(stages))]
        return tuple(eases)

    def _stage(self, layers: Sequence[str], *, last: bool) -> float:
        beside_s, alone_s = (sum(times[name] for name in layers) for times in (self._beside_s, self._alone_s))
        return _slower(beside_s + last * self._loss_s[0], alone_s + last * self._loss_s[1])

    def _ease(self, stage: int, slower: Sequence[float], took_s: Sequence[float]) -> float:
        others = [at for at in range(len(slower)) if at != stage]
        busy = sum(took_s[at] * slower[at] for at in others) / self._all
        if len(others) > self._neighbours:
            busy /= sum(took_s[at] for at in others) or 1.0
        else:
            busy /= max(took_s) * len(others)
        return (1 + slower[stage] * busy) / (1 + slower[stage])


def _slower(beside_s: float, alone_s: float) -> float:
    """Return by what share something is slower beside neighbours; nothing where it is not."""
    return max(0.0, beside_s / alone_s - 1) if alone_s else 0.0


def _share(layer: Layer | None) -> float:
    """Return what of a layer's time it takes beside no busy core."""
    return layer.alone_s / layer.step_s if layer and layer.alone_s is not None and layer.step_s else 1.0


def _step_s(part: Layer | Loss) -> float:
    return part.step_s
