"""How much less a stage takes than beside neighbours that are always busy with the whole model, as its profile was.

The profile has each layer beside N neighbours that train the whole model, c_l, and beside none, a_l. In a pipeline a
stage's neighbours are other stages: busy for a share of the time only, and with their own layers, of which those slow
others down most that are slowed down most themselves, for they use the memory most. With k_s = Σc ÷ Σa − 1 over a
stage's layers, k the mean of k_s, each counted with its stage's time, and u_t the share of the period in which stage t
is busy,

    ease_s = ( 1 + k_s · Σ over t ≠ s of u_t · k_t ÷ (N · k) ) ÷ ( 1 + k_s )

and u follows from the stages' times, which are their costs times their ease: worked out in turns. Where other stages
outnumber the N cores they take turns, and what a stage has beside it is always busy: their mean counts, each with its
time. Updates are counted as after each minibatch, whatever the schedule.

That is a rough model: caches, too, are shared, and who computes may suffer from who moves memory. So the ease of a
stage has a doubt, half of its excess either way:

    doubt_s = ½ · k_s ÷ (1 + k_s)
"""

from collections.abc import Sequence

from profiler.profile import Layer, Loss, Profile

TURNS = 20


class Crowding:
    """What each layer of a model takes beside busy neighbours and beside none.

    Attributes:
        known: Whether the profile tells.
        loss_alone_s: What the loss takes beside none.
    """

    def __init__(self, profile: Profile) -> None:
        """Take the times from a profile; where some are not known, nothing is eased."""
        self._neighbours = profile.neighbours
        parts: list[Layer | Loss] = [*profile.layers, profile.loss]
        self.known = bool(self._neighbours) and all(part.alone_s is not None for part in parts)
        self._beside_s = {layer.name: layer.step_s for layer in profile.layers}
        self._alone_s = {
            layer.name: layer.step_s if layer.alone_s is None else layer.alone_s for layer in profile.layers
        }
        self.loss_alone_s = profile.loss.alone_s or 0.0
        self._loss_s = (profile.loss.step_s, self.loss_alone_s)

    def alone_s(self, layer: str) -> float:
        """Return what a layer takes beside no busy core."""
        return self._alone_s[layer]

    def eases(self, stages: Sequence[Sequence[str]], costs_s: Sequence[float]) -> tuple[tuple[float, float], ...]:
        """Return the ease of each stage, and its doubt; 1 and 0 for all where the profile does not tell.

        Args:
            stages: The layers of each.
            costs_s: What a minibatch costs each beside busy neighbours.
        """
        eases = [1.0] * len(stages)
        if not self.known or not max(costs_s):
            return tuple((ease, 0.0) for ease in eases)
        slower = [self._stage(layers, last=number == len(stages) - 1) for number, layers in enumerate(stages)]
        for _ in range(TURNS):
            took_s = [cost_s * ease for cost_s, ease in zip(costs_s, eases, strict=True)]
            eases = [self._ease(stage, slower, took_s) for stage in range(len(stages))]
        return tuple((ease, excess / (1 + excess) / 2) for ease, excess in zip(eases, slower, strict=True))

    def _stage(self, layers: Sequence[str], *, last: bool) -> float:
        beside_s, alone_s = (sum(times[name] for name in layers) for times in (self._beside_s, self._alone_s))
        return _slower(beside_s + last * self._loss_s[0], alone_s + last * self._loss_s[1])

    def _ease(self, stage: int, slower: Sequence[float], took_s: Sequence[float]) -> float:
        excess_s = [time_s * excess for time_s, excess in zip(took_s, slower, strict=True)]
        usual = sum(excess_s) / sum(took_s)
        others_s, others_excess_s = sum(took_s) - took_s[stage], sum(excess_s) - excess_s[stage]
        if len(took_s) - 1 > self._neighbours:
            busy = others_excess_s / others_s if others_s else 0.0
        else:
            busy = others_excess_s / max(took_s) / self._neighbours
        return (1 + slower[stage] * (busy / usual if usual else 0.0)) / (1 + slower[stage])


def _slower(beside_s: float, alone_s: float) -> float:
    """Return by what share something is slower beside neighbours; nothing where it is not."""
    return max(0.0, beside_s / alone_s - 1) if alone_s else 0.0
