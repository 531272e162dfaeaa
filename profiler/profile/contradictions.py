"""Tell whether the values of a profile go together, and whether they are of a size that can be planned for."""

from collections.abc import Iterator, Sequence

from profiler.profile.layers import INPUT, CopyCost, Layer, Timing, parts_s
from profiler.profile.profile import Profile

MOST_LAYERS = 10_000
MOST_SECONDS = 1e8
MOST_BYTES, MOST_OPERATIONS = 1 << 45, 1 << 60
"""Of all layers together; with stages and weight versions counted in, more would not fit into 64 bits."""


def odd_values(profile: Profile) -> Iterator[str]:
    """Yield what contradicts itself in a profile, or is too large, each in words; the first may be the only one."""
    yield from _odd_layers(profile.layers)
    yield from _odd_edges(profile)
    yield from _odd_copies("copying", profile.copy_cost)
    yield from _odd_sizes(profile)
    yield from _odd_times(profile)
    yield from _odd_forms(profile)


def _odd_layers(layers: Sequence[Layer]) -> Iterator[str]:
    if len(layers) > MOST_LAYERS:
        yield f"it has {len(layers)} layers, and at most {MOST_LAYERS} can be planned for"
    names = {layer.name for layer in layers}
    if len(names) < len(layers) or not names:
        yield "it has no layers, or two of one name"
    if INPUT in names:
        yield f"a layer is called '{INPUT}', as the model's input is"
    for layer in layers:
        if layer.cast_bytes > layer.saved_bytes:
            yield f"the casts of {layer.name} are larger than all that it saves"
        if layer.learning_bytes > layer.parameter_bytes:
            yield f"more parameters of {layer.name} learn than it has"


def _odd_edges(profile: Profile) -> Iterator[str]:
    position = {layer.name: index for index, layer in enumerate(profile.layers)}
    edges = [edge for edge in profile.edges if edge.source != INPUT]
    named = [*(edge.source for edge in edges), *(edge.target for edge in profile.edges), *profile.outputs]
    named += [name for group in profile.inseparable for name in group]
    for name in named:
        if name not in position:
            yield f"it names an unknown layer '{name}'"
    for edge in edges:
        if position[edge.source] >= position[edge.target]:
            yield f"the edge from {edge.source} to {edge.target} runs against the order of the layers"


def _odd_copies(what: str, cost: CopyCost) -> Iterator[str]:
    sizes = cost.sizes_bytes
    if len(sizes) != len(cost.copy_s) or list(sizes) != sorted({size for size in sizes if size > 0}):
        yield f"what {what} costs is not one time for each of ascending sizes"


def _odd_sizes(profile: Profile) -> Iterator[str]:
    layers = profile.layers
    if profile.batch_size != profile.input_shape[0]:
        yield f"its batch size is {profile.batch_size}, and its input has {profile.input_shape[0]} samples"
    held = sum(
        layer.parameter_bytes + layer.saved_bytes + layer.transient_bytes + layer.output_bytes + layer.gradient_bytes
        for layer in layers
    )
    operations = sum(layer.flops + layer.backward_flops for layer in layers)
    sizes = [profile.input_bytes, *(size for layer in layers for size in (layer.output_bytes, layer.gradient_bytes))]
    copies_s = sum(map(profile.copy_cost.seconds, sizes))
    if held + profile.input_bytes > MOST_BYTES or operations > MOST_OPERATIONS:
        yield f"its layers add up to more than {MOST_BYTES >> 40} TiB or {MOST_OPERATIONS:.0e} operations"
    if max(parts_s(layers, profile.loss), copies_s) > MOST_SECONDS:
        yield f"its layers, or the copies of what they make, take more than {MOST_SECONDS:.0e} s"


def _odd_times(profile: Profile) -> Iterator[str]:
    parts = [*profile.layers, *(part for own in profile.blocks for part in own.parts)]
    steps = [profile.whole_step, profile.loaded_step]
    losses = [profile.loss]
    if profile.lowered:
        parts += profile.lowered.layers
        steps.append(profile.lowered.whole_step)
        losses.append(profile.lowered.loss)
    timings = [*steps, *(timing for loss in losses for timing in (loss.forward, loss.backward))]
    timings += [timing for part in parts for timing in (part.forward, part.backward, part.update)]
    if any(timing and not _holds_its_median(timing) for timing in timings):
        yield "an interval does not hold its own median"
    times_s = [time_s for layer in profile.layers for time_s in (layer.forward_s, layer.backward_s, layer.update_s)]
    if not any(_nanoseconds(time_s) for time_s in (*times_s, profile.loss.forward_s, profile.loss.backward_s)):
        yield "nothing in it takes a nanosecond"
    if not _nanoseconds(profile.whole_step_s) or not _nanoseconds(profile.whole_step.median_s):
        yield "its whole step takes no time"


def _holds_its_median(timing: Timing) -> bool:
    return timing.low_s <= timing.median_s <= timing.high_s


def _nanoseconds(time_s: float) -> int:
    return round(time_s * 1e9)


def _odd_forms(profile: Profile) -> Iterator[str]:
    """Yield what is wrong with what blocks of layers cost, and with what layers cost in bfloat16."""
    whole = {layer.name for layer in profile.layers}
    for own in profile.blocks:
        if own.layer not in whole:
            yield f"it says what blocks of an unknown layer '{own.layer}' cost"
    if profile.lowered is None:
        return
    lowered = profile.lowered
    named = [layer.name for layer in lowered.layers] == [layer.name for layer in profile.layers]
    if not named or any(layer.autocast for layer in profile.layers) or not all(own.autocast for own in lowered.layers):
        yield "it does not tell of the same layers in float32 and bfloat16"
    yield from _odd_layers(lowered.layers)
    yield from _odd_copies("casting", lowered.cast_cost)
