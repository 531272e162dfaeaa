"""Made-up profiles of a chain in other forms: with layers cut inside, and in bfloat16."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from strategies import layer

from profiler.profile import BF16, INPUT, Edge, Form, Layer, Profile, Slicing, pieces_of


def cuttable(profile: Profile, names: Sequence[str], features: int = 4096) -> Profile:
    """The profile with layers that can be cut."""
    return replace(
        profile, layers=tuple(replace(one, features=features if one.name in names else 0) for one in profile.layers)
    )


def sliced(profile: Profile, slicing: Slicing, more: float = 1.0, concat_ms: float = 0.0) -> Profile:
    """The profile of a chain cut inside, whose blocks take ``more`` times as long together as the layer does whole."""
    layers: list[Layer] = []
    edges: list[Edge] = []
    before = INPUT
    for own in profile.layers:
        if own.name not in pieces_of(slicing):
            layers.append(own)
            edges.append(Edge(source=before, target=own.name))
            before = own.name
            continue
        lengths = pieces_of(slicing)[own.name]
        lengths = lengths if len(lengths) > 1 else (own.features // lengths[0],) * lengths[0]
        concat = replace(layer(f"{own.name}.concat", (concat_ms, 0, 0)), kind="Concat")
        for at, length in enumerate(lengths):
            scale = more * length / sum(lengths) * 1e3
            times_ms = [time_s * scale for time_s in (own.forward_s, own.backward_s, own.update_s)]
            block = layer(f"{own.name}.block{at}", times_ms)
            size = own.learning_bytes * length // sum(lengths)
            layers.append(
                replace(
                    block,
                    features=length,
                    uncuttable="a part",
                    parameter_bytes=size,
                    learning_bytes=size,
                )
            )
            edges += [Edge(source=before, target=block.name), Edge(source=block.name, target=concat.name)]
            if at:
                edges.append(Edge(source=f"{own.name}.block{at - 1}", target=block.name, kind="order"))
        layers.append(replace(concat, parameter_bytes=0, learning_bytes=0, saved_bytes=0))
        before = concat.name
    return replace(profile, layers=tuple(layers), edges=tuple(edges), slicing=slicing)


def lowered(profile: Profile, forward_ms: Sequence[float]) -> Profile:
    """The profile in bfloat16, of layers that take so long there."""
    layers = tuple(
        replace(
            own, forward_s=time / 1e3, backward_s=0.0, update_s=0.0, output_bytes=own.output_bytes // 2,
            gradient_bytes=own.gradient_bytes // 2, cast_bytes=min(50, own.saved_bytes),
        )
        for own, time in zip(profile.layers, forward_ms, strict=True)
    )  # fmt: skip
    return replace(profile, layers=layers, precision=BF16, whole_step_s=sum(forward_ms) / 1e3)


def giving(
    profile: Profile, forward_ms: Sequence[float] = (), more: float = 1.0, concat_ms: float = 0.0
) -> tuple[Callable[[Form], Profile | None], list[Form]]:
    """What gives profiles of other forms, in bfloat16 if its times are there; and the forms that it was asked for."""
    asked: list[Form] = []

    def profile_of(form: Form) -> Profile | None:
        asked.append(form)
        if form.lowered and not forward_ms:
            return None
        made = lowered(profile, forward_ms) if form.lowered else profile
        return sliced(made, form.slicing, more, concat_ms) if form.slicing else made

    return profile_of, asked
