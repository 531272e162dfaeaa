"""Plan for cores that are all busy: take the times that were measured beside neighbours."""

from dataclasses import replace

from optimizer.errors import ProfileError
from profiler.types import Layer, Loss, Profile


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
    if layer.loaded is None:
        return layer
    found = layer.loaded
    return replace(layer, forward_s=found.forward_s, backward_s=found.backward_s, update_s=found.update_s)


def _loaded_loss(loss: Loss) -> Loss:
    return replace(loss, forward_s=loss.loaded.forward_s, backward_s=loss.loaded.backward_s) if loss.loaded else loss
