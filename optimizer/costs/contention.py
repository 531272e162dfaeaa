"""Plan for cores that are all busy: take the times that were measured beside neighbours."""

from dataclasses import replace

from optimizer.errors import ProfileError
from profiler.profile import Layer, Loss, Profile, Timing


def beside_neighbours(profile: Profile) -> Profile:
    """Return ``profile`` with every time as it was beside busy neighbours.

    Raises:
        ProfileError: It was measured alone.
    """
    if profile.loaded_step is None:
        raise ProfileError(
            f"the profile of {profile.model} was measured alone; measure it with python -m profiler --model "
            f"{profile.model} --neighbours N, N other cores being busy meanwhile"
        )
    layers = tuple(_loaded_layer(layer) for layer in profile.layers)
    return replace(
        profile,
        layers=layers,
        loss=_loaded_loss(profile.loss),
        whole_step=profile.loaded_step,
        whole_step_s=profile.loaded_step.median_s,
    )


def _loaded_layer(layer: Layer) -> Layer:
    found = layer.loaded
    if found is None:
        return layer
    return replace(
        layer,
        forward_s=found.forward_s,
        backward_s=found.backward_s,
        update_s=found.update_s,
        forward=scaled(layer.forward, found.forward_s),
        backward=scaled(layer.backward, found.backward_s),
        update=scaled(layer.update, found.update_s),
    )


def _loaded_loss(loss: Loss) -> Loss:
    found = loss.loaded
    if found is None:
        return loss
    return replace(
        loss,
        forward_s=found.forward_s,
        backward_s=found.backward_s,
        forward=scaled(loss.forward, found.forward_s),
        backward=scaled(loss.backward, found.backward_s),
    )


def scaled(alone: Timing | None, median_s: float) -> Timing | None:
    """Return a time's samples and interval around another median: beside neighbours only medians are kept."""
    if alone is None or not alone.median_s:
        return alone
    factor = median_s / alone.median_s
    return Timing(
        median_s=median_s,
        low_s=alone.low_s * factor,
        high_s=alone.high_s * factor,
        samples_s=tuple(sample * factor for sample in alone.samples_s),
    )
