"""Refuse a profile that contradicts itself, or that the search's 64-bit integers cannot hold."""

from optimizer.costs.costs import copy_ns, nanoseconds
from optimizer.errors import ProfileError
from profiler.profile import INPUT, Profile, parts_s

MOST_LAYERS = 10_000
MOST_SECONDS = 1e8
MOST_BYTES, MOST_OPERATIONS = 1 << 45, 1 << 60
"""Of all layers together; with stages and weight versions counted in, more would not fit into 64 bits."""


def refuse_contradictions(profile: Profile) -> None:
    """Refuse what cannot be planned for.

    Raises:
        ProfileError: Its layers, edges, copy costs or times do not go together, or it is too large.
    """
    _refuse_odd_layers(profile)
    _refuse_odd_edges(profile)
    _refuse_odd_copy_costs(profile)
    _refuse_odd_costs(profile)


def _refuse_odd_layers(profile: Profile) -> None:
    if len(profile.layers) > MOST_LAYERS:
        raise ProfileError(
            f"the profile of {profile.model} has {len(profile.layers)} layers and at most {MOST_LAYERS} are planned "
            "for; group layers into modules of their own and profile again"
        )
    names = {layer.name for layer in profile.layers}
    if len(names) < len(profile.layers) or not names:
        raise ProfileError(f"the profile of {profile.model} has no layers, or two of one name; profile the model again")
    if INPUT in names:
        raise ProfileError(f"a layer in the profile of {profile.model} is called '{INPUT}', as its input is; rename it")
    casting = [layer.name for layer in profile.layers if layer.cast_bytes > layer.saved_bytes]
    if casting:
        raise ProfileError(
            f"the casts of {casting[0]} are larger than all that it saves in the profile of {profile.model}; profile "
            "the model again"
        )
    odd = [layer.name for layer in profile.layers if layer.learning_bytes > layer.parameter_bytes]
    if odd:
        raise ProfileError(
            f"more parameters of {odd[0]} learn in the profile of {profile.model} than it has; profile the model again"
        )


def _refuse_odd_edges(profile: Profile) -> None:
    position = {layer.name: index for index, layer in enumerate(profile.layers)}
    sources = [edge.source for edge in profile.edges if edge.source != INPUT]
    named = [*sources, *(edge.target for edge in profile.edges), *profile.outputs]
    named += [name for group in profile.inseparable for name in group]
    unknown = [name for name in named if name not in position]
    if unknown:
        raise ProfileError(
            f"the profile of {profile.model} names an unknown layer '{unknown[0]}'; profile the model again"
        )
    edges = [edge for edge in profile.edges if edge.source != INPUT]
    if any(position[edge.source] >= position[edge.target] for edge in edges):
        raise ProfileError(
            f"the profile of {profile.model} has an edge against the order of its layers; profile the model again"
        )


def _refuse_odd_copy_costs(profile: Profile) -> None:
    sizes = profile.copy_cost.sizes_bytes
    if len(sizes) != len(profile.copy_cost.copy_s) or list(sizes) != sorted({size for size in sizes if size > 0}):
        raise ProfileError(
            f"the copy costs in the profile of {profile.model} do not give one time for each of ascending sizes; "
            "profile the model again"
        )


def _refuse_odd_costs(profile: Profile) -> None:
    layers = profile.layers
    if profile.batch_size != profile.input_shape[0]:
        raise ProfileError(
            f"the profile of {profile.model} is of batch size {profile.batch_size} and has an input of "
            f"{profile.input_shape[0]} samples; profile the model again"
        )
    timings = [timing for layer in layers for timing in (layer.forward, layer.backward, layer.update) if timing]
    if any(not timing.low_s <= timing.median_s <= timing.high_s for timing in timings):
        raise ProfileError(
            f"an interval in the profile of {profile.model} does not hold its own median; profile the model again"
        )
    times_s = [time_s for layer in layers for time_s in (layer.forward_s, layer.backward_s, layer.update_s)]
    if not any(map(nanoseconds, [*times_s, profile.loss.forward_s, profile.loss.backward_s])):
        raise ProfileError(f"nothing in the profile of {profile.model} takes a nanosecond; profile the model again")
    held = [
        layer.parameter_bytes + layer.saved_bytes + layer.transient_bytes + layer.output_bytes + layer.gradient_bytes
        for layer in layers
    ]
    operations = sum(layer.flops + layer.backward_flops for layer in layers)
    too_many = sum(held) + profile.input_bytes > MOST_BYTES or operations > MOST_OPERATIONS
    if too_many or parts_s(layers, profile.loss) > MOST_SECONDS:
        raise ProfileError(
            f"the layers in the profile of {profile.model} add up to more than {MOST_SECONDS:.0e} s, "
            f"{MOST_BYTES >> 40} TiB or {MOST_OPERATIONS:.0e} operations, which no minibatch takes; profile the model "
            "again"
        )
    sizes = [profile.input_bytes, *(size for layer in layers for size in (layer.output_bytes, layer.gradient_bytes))]
    if sum(copy_ns(profile.copy_cost, size) for size in sizes) > nanoseconds(MOST_SECONDS):
        raise ProfileError(
            f"sending what the layers in the profile of {profile.model} make takes more than {MOST_SECONDS:.0e} s; "
            "profile the model again"
        )
