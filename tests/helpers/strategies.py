"""Profiles for the optimizer's tests: of random graphs, and of real graphs with made-up times."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hypothesis import strategies as st

from profiler.execution import Captured
from profiler.profile import INPUT, CopyCost, Edge, Layer, Loss, Machine, Profile

MACHINE = Machine(
    cpu="test", physical_cores=4, logical_cores=4, instructions="avx2", memory_bytes=1 << 34,
    python="3", torch="2", torchvision="0", allocator="none", settings="none",
)  # fmt: skip
COPY_COST = CopyCost(latency_s=2e-6, s_per_byte=5e-10)
FREE = CopyCost(latency_s=0, s_per_byte=0)


def layer(name: str, times_ms: Sequence[float] = (1, 2, 0), sizes: tuple[int, int] = (1000, 1000)) -> Layer:
    forward, backward, update = times_ms
    return Layer(
        name=name,
        kind="Test",
        forward_s=forward / 1e3,
        backward_s=backward / 1e3,
        update_s=update / 1e3,
        output_bytes=sizes[0],
        gradient_bytes=sizes[1],
        parameter_bytes=100,
        learning_bytes=100,
        saved_bytes=200,
    )


def profile(
    layers: Sequence[Layer],
    edges: Sequence[tuple[str, str]],
    together: Sequence[tuple[str, ...]] = (),
    copy_cost: CopyCost = COPY_COST,
    order: Sequence[tuple[str, str]] = (),
) -> Profile:
    return Profile(
        model="test",
        model_digest="",
        batch_size=2,
        input_shape=(2, 3, 4, 4),
        classes=5,
        update_rule="sgd with momentum",
        momenta=1,
        machine=MACHINE,
        core=0,
        layers=tuple(layers),
        edges=(
            *(Edge(source=a, target=b) for a, b in edges),
            *(Edge(source=a, target=b, kind="order") for a, b in order),
        ),
        inseparable=tuple(together),
        loss=Loss(forward_s=1e-4, backward_s=1e-4),
        copy_cost=copy_cost,
        input_bytes=384,
        peak_memory_bytes=None,
        whole_step_s=1.0,
        closure_error=0.0,
        rounds=9,
        uncertainty=0.01,
        regret=0.0,
        foreign_load=0.0,
        measured_at="2026-01-01T00:00:00+00:00",
    )


def chain(times_ms: Sequence[float], copy_cost: CopyCost = COPY_COST) -> Profile:
    names = [f"l{index}" for index in range(len(times_ms))]
    edges = [(INPUT, names[0]), *pairwise(names)]
    return profile(
        [layer(name, (time, 0, 0)) for name, time in zip(names, times_ms, strict=True)], edges, copy_cost=copy_cost
    )


@st.composite
def random_profiles(draw: st.DrawFn, most: int = 7, copy_cost: CopyCost = COPY_COST) -> Profile:
    """A DAG of a few layers with ties in its times, several readers a value; at times a group, an order edge, heads."""
    count = draw(st.integers(2, most))
    names = [f"l{index}" for index in range(count)]
    small = st.integers(0, 3)
    layers = [
        layer(name, (draw(small), draw(small), draw(small)), (draw(small) * 1000, draw(small) * 1000)) for name in names
    ]
    sizes = st.sampled_from([0, 100, 300])
    layers = [
        replace(
            one,
            parameter_bytes=300,
            learning_bytes=draw(sizes),
            saved_bytes=draw(sizes),
            in_place_share=draw(st.sampled_from([1.0, 0.5, 1.5])),
            accumulate_s=draw(st.sampled_from([0.0, 0.001, 0.002, -0.001])),
            left_bytes=draw(sizes),
            splitting_s=draw(st.sampled_from([0.0, 0.001])),
            weight_gradients_s=draw(st.sampled_from([0.0, one.backward_s / 2, one.backward_s])),
        )
        for one in layers
    ]
    layers = [replace(one, cast_bytes=draw(st.sampled_from([0, one.saved_bytes // 2]))) for one in layers]
    edges = {(INPUT, names[0])}
    for index in range(1, count):
        sources = draw(st.lists(st.sampled_from([INPUT, *names[:index]]), min_size=1, max_size=3, unique=True))
        edges |= {(source, names[index]) for source in sources}
    pairs = st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True)
    together = draw(st.lists(pairs.map(tuple), max_size=1)) if draw(st.booleans()) else []
    order = draw(st.lists(pairs.map(lambda pair: tuple(sorted(pair))), max_size=1)) if draw(st.booleans()) else []
    found = profile(layers, sorted(edges), together, copy_cost=copy_cost, order=order)  # type: ignore[arg-type]
    heads = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    return replace(found, outputs=tuple(heads))


def profile_of(captured: Captured, seed: int) -> Profile:
    """The real graph and sizes of a captured model, with times drawn from ``seed``, spread as real ones are."""
    drawn = random.Random(seed)  # noqa: S311 - made-up times
    layers = []
    for name in captured.layer_names:
        spec = captured.specs.get(name)
        size = spec.bytes if spec else 0
        layers.append(layer(name, [drawn.lognormvariate(0, 1.5) for _ in range(3)], (size, size)))
    found = profile(layers, [], captured.inseparable)
    return replace(found, edges=captured.edges, outputs=captured.outputs)
