"""How unsteady a stage is: by what factor its layers took longer or shorter in each round of the profile.

A round is one training step, timed layer by layer. With t_l(r) what layer l took in round r, c_l what it is taken to
cost, T(r) = Σ t_l(r) over all layers, and T̃(r) the median of T over the rounds around r,

    factor(stage, r) = Σ_{l in stage} t_l(r) ÷ (Σ_{l in stage} c_l · T̃(r) ÷ Σ_l c_l)

so a drift of the machine, which every stage would share, is taken out, and what comes and goes within a few rounds is
kept.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from profiler.profile import Layer, Loss, Profile

Floats = NDArray[np.float64]
AROUND = 3
"""So many rounds before and after one tell how fast the machine was in it."""
DIGITS = 4
LOSS = "\0loss"
"""What no layer is called."""


class Rounds:
    """What each layer of a model took in each round of its profile.

    Attributes:
        count: How many rounds there are; 0 where they are not kept.
        loss_s: What the loss took in each of them; ``pace``, T̃ over what a step is taken to cost.
    """

    def __init__(self, profile: Profile) -> None:
        """Take the rounds from a profile; one that keeps none has no factors."""
        self.loss_s = self.pace = np.zeros(0)
        parts: dict[str, Layer | Loss] = {layer.name: layer for layer in profile.layers} | {LOSS: profile.loss}
        self._costs_s = {name: part.step_s for name, part in parts.items()}
        known = all(part.alone_s is not None for part in parts.values())
        self._alone_s = {name: part.alone_s or 0.0 for name, part in parts.items()} if known else self._costs_s
        counts = {len(part.rounds_s) for part in parts.values()}
        self.count = counts.pop() if len(counts) == 1 else 0
        if self.count < 2:
            self.count = 0
            return
        rows = {layer.name: np.array(layer.rounds_s) for layer in profile.layers}
        loss_s = np.array(profile.loss.rounds_s)
        total = np.sum([*rows.values(), loss_s], axis=0)
        around = [total[max(0, at - AROUND) : at + AROUND + 1] for at in range(self.count)]
        pace = np.array([np.median(near) for near in around]) / (profile.one_core_s or 1.0)
        if not pace.all():
            self.count = 0
            return
        self.loss_s, self.pace = loss_s, pace
        self._rows: Mapping[str, Floats] = rows

    def factors(self, layers: Sequence[str], *, last: bool) -> tuple[float, ...]:
        """Return by what factor a stage took longer than it is taken to, round by round; nothing without rounds.

        Args:
            layers: The stage's.
            last: Whether the loss is in it.
        """
        cost_s = self._sum_s(self._costs_s, layers, last)
        if not self.count or not cost_s:
            return (1.0,) * self.count
        took_s = self.took_s(layers)
        took_s = took_s + self.loss_s if last else took_s
        return tuple(round(float(factor), DIGITS) for factor in took_s / (cost_s * self.pace))

    def alone(self, layers: Sequence[str], *, last: bool) -> float:
        """Return what a stage takes beside no busy core, of what it takes as profiled; 1 where that is not known."""
        return min(1.0, self._sum_s(self._alone_s, layers, last) / (self._sum_s(self._costs_s, layers, last) or 1.0))

    def _sum_s(self, times_s: Mapping[str, float], layers: Sequence[str], last: bool) -> float:  # noqa: FBT001
        return sum(times_s[name] for name in layers) + (times_s[LOSS] if last else 0.0)

    def took_s(self, layers: Sequence[str]) -> Floats:
        """Return what some layers took together, round by round; nothing without rounds."""
        if not self.count:
            return np.zeros(0)
        return np.asarray(np.sum([self._rows.get(name, np.zeros(self.count)) for name in layers], axis=0))
