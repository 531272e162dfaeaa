import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from profiler.execution import TensorSpec, spec_of
from runtime.channels.slot_ring import Ring, ring_bytes
from runtime.errors import RunError

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int8, torch.bool, torch.complex64)


def ring_for(specs: list[TensorSpec], slots: int, offset: int = 0) -> Ring:
    buffer = torch.full((offset + ring_bytes(specs, slots),), 0xFF, dtype=torch.uint8).numpy()
    found = Ring(buffer, offset, specs, slots)
    found.blank()
    return found


def filled(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    made = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return made.to(memory_format=torch.channels_last) if len(shape) == 4 and seed % 2 else made


@st.composite
def minibatches(draw: st.DrawFn) -> tuple[list[TensorSpec], list[list[torch.Tensor]], int]:
    """Values of a cut as captured, and some minibatches of them, of which some have fewer samples."""
    shapes = draw(st.lists(st.lists(st.integers(1, 4), min_size=0, max_size=4).map(tuple), min_size=1, max_size=3))
    dtypes = [draw(st.sampled_from(DTYPES)) for _ in shapes]
    seeds = [draw(st.integers(0, 1)) for _ in shapes]
    given_ = [filled(shape, dtype, seed) for shape, dtype, seed in zip(shapes, dtypes, seeds, strict=True)]
    specs = [spec_of(f"v{at}", tensor) for at, tensor in enumerate(given_)]
    found = []
    for minibatch in range(draw(st.integers(1, 6))):
        fewer = draw(st.integers(0, 4))
        row = []
        for shape, dtype, seed in zip(shapes, dtypes, seeds, strict=True):
            smaller = (min(fewer or shape[0], shape[0]), *shape[1:]) if shape else ()
            row.append(filled(smaller, dtype, 2 * minibatch + seed))
        found.append(row)
    return specs, found, draw(st.integers(1, 3))


@given(minibatches())
def test_what_is_put_is_what_is_got_in_shape_type_and_memory_format(
    case: tuple[list[TensorSpec], list[list[torch.Tensor]], int],
) -> None:
    specs, rows, slots = case
    ring = ring_for(specs, slots, offset=64)
    for minibatch, row in enumerate(rows):
        ring.put(minibatch, row)
        for back in range(max(0, minibatch - slots + 1), minibatch + 1):
            for found, wanted, spec in zip(ring.get(back), rows[back], specs, strict=True):
                assert found.dtype == wanted.dtype
                assert torch.equal(found, wanted), "and what other slots hold stays"
                as_captured = wanted.shape == spec.shape
                assert found.stride() == (spec.stride if as_captured else torch.empty_like(wanted).stride())


def test_what_does_not_fit_is_refused_with_the_layer_and_both_shapes() -> None:
    spec = spec_of("conv1", torch.zeros(4, 3))
    ring = ring_for([spec], 1)
    for tensor in (torch.zeros(5, 3), torch.zeros(4, 3, dtype=torch.float64), torch.zeros(12)):
        with pytest.raises(RunError, match=r"layer 'conv1' gives .* no room where \(4, 3\)"):
            ring.put(0, [tensor])
