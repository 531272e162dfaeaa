"""Fit a profile's layer costs to what stages of executed splits were measured to take, to plan again with them.

Layer l costs x_l times what the profile says; the loss counts as one more layer of the last stage. The x_l solve

    min over x of  Σ_k ((Σ_l a_kl x_l − m_k) / m_k)²  +  λ Σ_l (c_l / c) (x_l − 1)²,    1/10 ≤ x_l ≤ 10

where stage k was measured to work m_k seconds a minibatch, a_kl is what l is profiled to take in it, c_l what l is
profiled to take at all and c their sum. The second term decides what stages alone leave open: layers that were never
separated move together, and what nothing speaks against stays as profiled. A linear least-squares problem with bounds.

Source: ridge regression towards a prior (Hoerl and Kennard, Technometrics 1970); solved by scipy.optimize.lsq_linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import lsq_linear

from optimizer.contention import scaled
from profiler.types import Layer, Loss, Profile

RIDGE = 0.1
BOUNDS = (0.1, 10.0)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one stage of one executed split was measured to do a minibatch.

    Attributes:
        layers: Those of the stage.
        last: Whether the loss is in it.
        in_place: Whether it holds one weight version, and updates in place.
        updates: Updates a minibatch.
        work_s: Forward, backward and update.
    """

    layers: tuple[str, ...]
    last: bool
    in_place: bool
    updates: float
    work_s: float


def refitted(profile: Profile, observations: Sequence[Observation]) -> Profile:
    """Return ``profile`` with every time multiplied so that its sums come near to what was measured."""
    factors = multipliers(profile, observations)
    layers = tuple(_layer(layer, factor) for layer, factor in zip(profile.layers, factors, strict=False))
    return replace(profile, layers=layers, loss=_loss(profile.loss, factors[-1]))


def multipliers(profile: Profile, observations: Sequence[Observation]) -> list[float]:
    """Return what to multiply each layer's times by; the last entry is the loss's."""
    whole = [layer.step_s for layer in profile.layers] + [profile.loss.forward_s + profile.loss.backward_s]
    rows, targets = [], []
    for one in observations:
        inside = set(one.layers)
        row = [
            (
                layer.forward_s
                + layer.backward_s
                + (layer.update_in_place_s if one.in_place else layer.update_s) * one.updates
            )
            / one.work_s
            if layer.name in inside
            else 0.0
            for layer in profile.layers
        ]
        rows.append([*row, whole[-1] / one.work_s if one.last else 0.0])
        targets.append(1.0)
    ridge = np.sqrt(RIDGE * np.asarray(whole) / max(sum(whole), 1e-12))
    matrix = np.vstack([np.asarray(rows).reshape(len(rows), len(whole)), np.diag(ridge)])
    solution = lsq_linear(matrix, np.concatenate([targets, ridge]), bounds=BOUNDS)
    # A layer that costs nothing is free to take any factor; 1 is the one that says nothing.
    return [float(factor) if cost else 1.0 for factor, cost in zip(solution.x, whole, strict=True)]


def _layer(layer: Layer, factor: float) -> Layer:
    return replace(
        layer,
        forward_s=layer.forward_s * factor,
        backward_s=layer.backward_s * factor,
        update_s=layer.update_s * factor,
        forward=scaled(layer.forward, layer.forward_s * factor),
        backward=scaled(layer.backward, layer.backward_s * factor),
        update=scaled(layer.update, layer.update_s * factor),
    )


def _loss(loss: Loss, factor: float) -> Loss:
    return replace(
        loss,
        forward_s=loss.forward_s * factor,
        backward_s=loss.backward_s * factor,
        forward=scaled(loss.forward, loss.forward_s * factor),
        backward=scaled(loss.backward, loss.backward_s * factor),
    )
