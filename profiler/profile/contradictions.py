"""Tell whether the values of a profile go together, and whether they are of a size that can be planned for."""

from collections.abc import Iterator, Sequence

from profiler.profile.form import BF16_FORM, PLAIN_FORM
from profiler.profile.layers import INPUT, CopyCost, Layer, Timing, parts_s
from profiler.profile.profile import ModelCosts, Profile

MOST_LAYERS = 4_000
MOST_SECONDS = 1e8
MOST_CROWDED = 1_000
MOST_BYTES, MOST_OPERATIONS = 1 << 45, 1 << 60
"""Of all layers together; with stages and weight versions counted in, more would not fit into 64 bits."""


def odd_values(profile: Profile) -> Iterator[str]:
    """Yield what contradicts itself in a profile, or is too large, each in words; the first may be the only one."""
    yield from _odd_layers(profile.layers)
    yield from _odd_timings(profile)
    yield from _odd_rounds(profile)
    yield from _odd_blocks(profile)
    yield from _odd_lowered(profile)
    for form in (PLAIN_FORM, BF16_FORM) if profile.lowered else (PLAIN_FORM,):
        yield from odd_costs(profile.costs(form))


def odd_costs(model: ModelCosts) -> Iterator[str]:
    """Yield what contradicts itself in what a model costs in one form, or is too large; the first may be the only one.

    Args:
        model: Of a profile whose own values go together.
    """
    yield from _odd_layers(model.layers)
    yield from _odd_edges(model)
    yield from _odd_copies("copying", model.profile.copy_cost)
    yield from _odd_sizes(model)
    yield from _odd_times(model)


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


def _odd_edges(model: ModelCosts) -> Iterator[str]:
    position = {layer.name: index for index, layer in enumerate(model.layers)}
    edges = [edge for edge in model.edges if edge.source != INPUT]
    named = [*(edge.source for edge in edges), *(edge.target for edge in model.edges), *model.outputs]
    named += [name for group in model.inseparable for name in group]
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


def _odd_sizes(model: ModelCosts) -> Iterator[str]:
    layers, profile = model.layers, model.profile
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
    if max(parts_s(layers, model.loss), copies_s) > MOST_SECONDS:
        yield f"its layers, or the copies of what they make, take more than {MOST_SECONDS:.0e} s"


def _odd_times(model: ModelCosts) -> Iterator[str]:
    times_s = [time_s for layer in model.layers for time_s in (layer.forward_s, layer.backward_s, layer.update_s)]
    if not any(_nanoseconds(time_s) for time_s in (*times_s, model.loss.forward_s, model.loss.backward_s)):
        yield "nothing in it takes a nanosecond"
    if not _nanoseconds(model.whole_step_s) or not _nanoseconds(model.whole_step.median_s):
        yield "its whole step takes no time"


def _odd_timings(profile: Profile) -> Iterator[str]:
    parts = [*profile.layers, *(part for own in profile.blocks for part in own.parts)]
    steps = [profile.whole_step]
    losses = [profile.loss]
    if profile.lowered:
        parts += profile.lowered.layers
        steps.append(profile.lowered.whole_step)
        losses.append(profile.lowered.loss)
    timings = [*steps, *(timing for loss in losses for timing in (loss.forward, loss.backward))]
    timings += [timing for part in parts for timing in (part.forward, part.backward, part.update)]
    if any(timing and not _holds_its_median(timing) for timing in timings):
        yield "an interval does not hold its own median"


def _odd_rounds(profile: Profile) -> Iterator[str]:
    """Yield what is wrong with rounds, and with what was timed beside busy cores."""
    if len(profile.beside_s) != profile.neighbours:
        yield f"it was measured beside {profile.neighbours} busy cores, and tells of {len(profile.beside_s)}"
    layers = [*profile.layers, *(profile.lowered.layers if profile.lowered else ())]
    for layer in (*layers, *(part for own in profile.blocks for part in own.parts)):
        timings = [timing for timing in (layer.forward, layer.backward, layer.update) if timing]
        if len({len(timing.samples_s) for timing in timings}) > 1:
            yield f"forward, backward and update of {layer.name} were timed in other rounds"
        if any(timing.median_s and timing.samples_s and not any(timing.samples_s) for timing in timings):
            yield f"{layer.name} took nothing in each round, and takes something"
    for layer in layers:
        if layer.part_of:
            yield f"{layer.name} is a part of {layer.part_of}, and stands for a whole layer"
        if layer.alone_s is not None and layer.alone_s * MOST_CROWDED < layer.step_s:
            yield f"{layer.name} takes more than {MOST_CROWDED} times as long beside busy cores as beside none"
    ratios = [time_s / (profile.whole_step_s or 1.0) for time_s in profile.beside_s]
    if not all(1 / MOST_CROWDED <= ratio <= MOST_CROWDED for ratio in ratios):
        yield "what a step takes beside busy cores has nothing to do with what it takes beside none"


def _holds_its_median(timing: Timing) -> bool:
    return timing.low_s <= timing.median_s <= timing.high_s


def _nanoseconds(time_s: float) -> int:
    return round(time_s * 1e9)


def _odd_blocks(profile: Profile) -> Iterator[str]:
    """Yield what is wrong with what blocks of layers cost."""
    whole = {layer.name for layer in profile.layers}
    for own in profile.blocks:
        if own.layer not in whole:
            yield f"it says what blocks of an unknown layer '{own.layer}' cost"
        yield from _odd_layers(own.parts)
        for name in sorted(whole.intersection(part.name for part in own.parts)):
            yield f"'{name}' is a layer of it, and a block of {own.layer}"


def _odd_lowered(profile: Profile) -> Iterator[str]:
    """Yield what is wrong with what layers cost in bfloat16."""
    if profile.lowered is None:
        return
    lowered = profile.lowered
    named = [layer.name for layer in lowered.layers] == [layer.name for layer in profile.layers]
    if not named or any(layer.autocast for layer in profile.layers) or not all(own.autocast for own in lowered.layers):
        yield "it does not tell of the same layers in float32 and bfloat16"
    yield from _odd_copies("casting", lowered.cast_cost)
