"""Layers measured in blocks: what must add up whatever the machine's speed, and what is left out when time is short."""

import math
import time
from dataclasses import replace

import pytest
from strategies import layer as made

from profiler.capture import captured_model, sliceable
from profiler.errors import ConfigError
from profiler.measure import measure_blocks
from profiler.profile import Layer, SlicedLayer, part_names
from profiler.settings import Config

pytestmark = pytest.mark.slow

SMALL = Config(model="small_models:Residual", batch_size=4, image_size=16)
FROZEN = Config(model="small_models:frozen_stem", batch_size=4, image_size=16)


def profiled(name: str, times_ms: tuple[float, float, float] = (3, 6, 1)) -> Layer:
    return replace(made(name, times_ms), features=8)


def found(
    config: Config, pieces: dict[str, tuple[int, ...]], core: int, until_s: float = math.inf
) -> list[SlicedLayer]:
    shares: list[float] = []
    wanted = [(profiled(name), lengths) for name, lengths in pieces.items()]
    blocks = measure_blocks(config, wanted, core, until_s, shares.append)
    assert len(shares) == len(blocks)
    return list(blocks)


def test_blocks_share_the_parameters_the_work_and_the_output(usable: tuple[int, ...]) -> None:
    captured = captured_model(SMALL)
    for own in found(SMALL, {"conv1": (3, 5), "stem": (1, 1, 6)}, usable[0]):
        *blocks, concat = own.parts
        assert [part.name for part in own.parts] == part_names(own.layer, len(blocks))
        assert own.lengths == ((3, 5) if own.layer == "conv1" else (1, 1, 6))
        assert all(part.part_of == own.layer and part.uncuttable for part in own.parts)
        assert sum(part.learning_bytes for part in own.parts) == captured.learning_bytes(own.layer)
        assert sum(part.output_bytes for part in blocks) == concat.output_bytes == captured.specs[own.layer].bytes
        per_feature = {block.flops / block.features for block in blocks}
        assert len(per_feature) == 1
        assert concat.flops == 0
        rounds = {len(times.samples_s) for part in own.parts for times in (part.forward, part.backward) if times}
        assert len(rounds) == 1, "rounds of the layer whole and in blocks go together"
        assert min(rounds) >= 3
        assert all(part.forward_s > 0 and part.backward_s > 0 for part in own.parts)


def test_what_a_layer_took_in_its_profile_scales_its_blocks(usable: tuple[int, ...]) -> None:
    (one,) = measure_blocks(SMALL, [(profiled("conv1"), (4, 4))], usable[0], math.inf, lambda _share: None)
    (other,) = measure_blocks(
        SMALL, [(profiled("conv1", (3000, 6000, 1000)), (4, 4))], usable[0], math.inf, lambda _share: None
    )
    for before, after in zip(one.parts[:-1], other.parts[:-1], strict=True):
        assert 10 < after.forward_s / before.forward_s < 100_000, "a thousand times, but for what the machine does"
        assert after.update_s > before.update_s


def test_a_frozen_layer_that_nothing_before_learns_has_no_backward(usable: tuple[int, ...]) -> None:
    assert sliceable(captured_model(FROZEN))["stem"] == (8, "")
    (own,) = found(FROZEN, {"stem": (4, 4)}, usable[0])
    assert all(part.forward_s > 0 for part in own.parts)
    assert all((part.backward_s, part.update_s, part.learning_bytes) == (0, 0, 0) for part in own.parts)


def test_what_would_take_too_long_is_not_begun_and_what_cannot_be_cut_is_refused(usable: tuple[int, ...]) -> None:
    assert found(SMALL, {"conv1": (4, 4)}, usable[0], until_s=time.monotonic()) == []
    with pytest.raises(ConfigError, match="conv1 has 8 output features, and its blocks 9"):
        found(SMALL, {"conv1": (4, 5)}, usable[0])
