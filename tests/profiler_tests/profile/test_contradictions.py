"""What in a profile's rounds, and in what was timed beside busy cores, cannot be so."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from rounds import with_rounds
from strategies import chain

from profiler.errors import FileError
from profiler.files import from_json, to_json
from profiler.profile import Layer, Profile, Timing

STEADY = [[1.0] * 6, [1.0] * 6]


def good() -> Profile:
    found = with_rounds(chain([1, 2]), STEADY)
    layers = tuple(replace(layer, alone_s=layer.step_s / 1.2) for layer in found.layers)
    return replace(found, layers=layers, neighbours=1, beside_s=(1.2,), whole_step_s=1.0)


def first(found: Profile, change: Callable[[Layer], Layer]) -> Profile:
    return replace(found, layers=(change(found.layers[0]), *found.layers[1:]))


def timed(layer: Layer, samples_s: tuple[float, ...]) -> Timing:
    assert layer.forward
    return replace(layer.forward, samples_s=samples_s)


def test_a_profile_beside_a_busy_core_is_read_as_it_was_written() -> None:
    assert from_json(to_json(good()), Profile, "here") == good()


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (replace(good(), neighbours=2), "beside 2 busy cores, and tells of 1"),
        (replace(good(), beside_s=(0.0,)), "nothing to do with what it takes beside none"),
        (replace(good(), beside_s=(1e5,)), "nothing to do with what it takes beside none"),
        (first(good(), lambda own: replace(own, forward=timed(own, (1e-3,) * 5))), "l0 were timed in other rounds"),
        (first(good(), lambda own: replace(own, forward=timed(own, (0.0,) * 6))), "l0 took nothing in each round"),
        (first(good(), lambda own: replace(own, part_of="other")), "l0 is a part of other"),
        (first(good(), lambda own: replace(own, alone_s=5e-324)), "l0 takes more than 1000 times as long"),
    ],
)
def test_what_cannot_be_so_is_refused_where_it_is_read(odd: Profile, said: str) -> None:
    with pytest.raises(FileError, match=said):
        from_json(to_json(odd), Profile, "here")
