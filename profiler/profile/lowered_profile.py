"""A profile in another precision: what each layer costs as it then runs, with the casts between layers.

A layer reads a value in the type in which it was measured. Where the layer that made it runs in the other precision,
and the value is of another type there, the reader casts it, and the gradient on its way back.
"""

from collections.abc import Iterator
from dataclasses import replace

from profiler.errors import ConfigError
from profiler.profile.precision import BF16, FP32, Form, float32_layers
from profiler.profile.profile import Layer, Lowered, Profile
from profiler.profile.slice_profile import sliced_profile


def in_precision(profile: Profile, precision: str) -> Profile:
    """Return the profile with its layers in a precision; it tells of no other.

    Args:
        profile: As it was measured, with no layer cut.
        precision: As it is written.

    Raises:
        ConfigError: The profile does not say what layers cost in bfloat16, or a layer is not there.
    """
    stay = float32_layers(precision)
    if stay is None:
        return replace(profile, lowered=None, blocks=tuple(own for own in profile.blocks if not own.parts[0].autocast))
    if profile.lowered is None:
        raise ConfigError(
            f"the profile of {profile.model} says nothing of {BF16}, which {precision[:60]!r} needs; profile again "
            f"with --precision {BF16}"
        )
    for name in sorted(stay.difference(layer.name for layer in profile.layers)):
        raise ConfigError(f"the profile of {profile.model} has no layer '{name}' to keep in {FP32}; plan again")
    lowered = profile.lowered
    layers = tuple(_layers(profile, lowered, stay))
    autocast = {layer.name: layer.autocast for layer in layers}
    return replace(
        profile,
        precision=precision,
        lowered=None,
        layers=layers,
        blocks=tuple(own for own in profile.blocks if own.parts[0].autocast == autocast.get(own.layer)),
        loss=profile.loss if stay.intersection(profile.outputs) else lowered.loss,
        whole_step_s=lowered.whole_step_s,
        whole_step=lowered.whole_step,
        closure_error=lowered.closure_error,
        peak_memory_bytes=lowered.peak_memory_bytes,
    )


def profile_in_form(profile: Profile, form: Form) -> Profile:
    """Return the profile with its layers in a precision and cut into blocks.

    Raises:
        ConfigError: That was not measured.
    """
    return sliced_profile(in_precision(profile, form.precision), form.slicing)


def cast_bytes(full: Layer, lower: Layer) -> int:
    """Return the size in float32 of a layer's output if that is of another type under autocast; else 0."""
    return full.output_bytes if lower.output_bytes < full.output_bytes else 0


def _layers(profile: Profile, lowered: Lowered, stay: frozenset[str]) -> Iterator[Layer]:
    pairs = list(zip(profile.layers, lowered.layers, strict=True))
    cast = {full.name: cast_bytes(full, lower) for full, lower in pairs}
    reads: dict[str, set[str]] = {full.name: set() for full, _ in pairs}
    for edge in profile.edges:
        if edge.kind == "data" and edge.source in cast and edge.target in reads:
            reads[edge.target].add(edge.source)
    for full, lower in pairs:
        stays = full.name in stay
        sizes = [cast[name] for name in reads[full.name] if (name in stay) != stays]
        made = sum(size if stays else size // 2 for size in sizes)
        own = full if stays else lower
        yield own.casting_inputs(sum(map(lowered.cast_cost.seconds, sizes)), made)
