"""What a step takes, measured in a process of its own, against sums done by hand."""

import pytest

from profiler.measure.memory import peak_measured
from profiler.settings import Config

MIB = 1 << 20


def peak_of(model: str, batch_size: int, image_size: int, core: int) -> int:
    with peak_measured(Config(model=model, batch_size=batch_size, image_size=image_size), core) as process:
        found = process.receive()
    if found is None:
        pytest.skip("this kernel keeps no peak of the resident size")
    return int(found.peak_bytes)


def test_the_peak_is_what_the_shapes_say(usable: tuple[int, ...]) -> None:
    """The model: flatten, 12288 → 1024 (48 MiB), ReLU (in place), 1024 → 5; its activations are small."""
    peak = peak_of("small_models:large", 32, 64, usable[0])
    assert peak == pytest.approx(3 * 48 * MIB, rel=0.15), "weights, gradients and momentum"


def test_the_peak_has_momenta_of_weights_with_their_channels_last(usable: tuple[int, ...]) -> None:
    """These are filled when they are made, and a peak that is read from then on would lack them."""
    peak, weights = peak_of("small_models:wide_convolution", 4, 16, usable[0]), 512 * 1024 * 9 * 4
    assert 3 * weights <= peak <= 6 * weights, "weights, gradients, momentum, and what is on its way"


def test_what_passes_through_is_in_the_peak(usable: tuple[int, ...]) -> None:
    """A 32 MiB product that no layer saves lives between two layers only; its gradient is expanded, hence small."""
    assert peak_of("small_models:Widened", 4, 64, usable[0]) > 32 * MIB
