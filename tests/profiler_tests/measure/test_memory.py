"""What a step takes, measured in a process of its own, against sums done by hand."""

import pytest

from profiler.measure.memory import Memory, memory_of, peak_measured, transients_measured
from profiler.settings import Config

LARGE = Config(model="small_models:large", batch_size=32, image_size=64)
MIB = 1 << 20


def measured(config: Config, core: int) -> Memory:
    with transients_measured(config) as transients, peak_measured(config, core) as peak:
        found = memory_of(transients.receive(), peak.receive())
    if found is None:
        pytest.skip("this kernel keeps no peak of the resident size")
    return found


def test_the_peak_and_the_transients_are_what_the_shapes_say(usable: tuple[int, ...]) -> None:
    """The model: flatten, 12288 → 1024 (48 MiB), ReLU (in place), 1024 → 5; its activations are small."""
    found = measured(LARGE, usable[0])
    weights = 48 * MIB
    assert found.peak_bytes == pytest.approx(3 * weights, rel=0.15), "weights, gradients and momentum"
    assert max(found.transient_bytes) < 16 * MIB, "gradients of weights are no transients"


def test_the_peak_has_momenta_of_weights_with_their_channels_last(usable: tuple[int, ...]) -> None:
    """These are filled when they are made, and a peak that is read from then on would lack them."""
    found = measured(Config(model="small_models:wide_convolution", batch_size=4, image_size=16), usable[0])
    weights, moment = 512 * 1024 * 9 * 4, max(found.transient_bytes)
    assert 3 * weights + moment / 2 <= found.peak_bytes <= 3 * weights + 2 * moment, "weights, gradients, momentum"


def test_what_passes_through_is_a_transient(usable: tuple[int, ...]) -> None:
    """A 32 MiB product that no layer saves lives between two layers only."""
    found = measured(Config(model="small_models:Widened", batch_size=4, image_size=64), usable[0])
    assert max(found.transient_bytes) == pytest.approx(32 * MIB, rel=0.2), "its gradient is expanded, hence small"
