"""Lines through profiles whose times are known, so that everything can be said exactly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from strategies import MACHINE, chain

from profiler.doubts import doubts
from profiler.errors import FileError, ProfilerError
from profiler.files import read_json, to_json, write_whole
from profiler.fit import Fit, fit
from profiler.formats import read_profile
from profiler.types import Profile, Timing, parts_s

BATCHES = (1, 4, 16)


def at(batch_size: int, time_s: Callable[[int, int], float]) -> Profile:
    """A chain of three layers; layer l takes ``time_s(l, batch)`` forward, and twice that backward."""
    found = chain([1, 1, 1])
    layers = tuple(
        replace(
            layer,
            forward_s=time_s(number, batch_size),
            backward_s=2 * time_s(number, batch_size),
            output_bytes=1000 * batch_size,
            forward=Timing(median_s=time_s(number, batch_size), low_s=0.0, high_s=2 * time_s(number, batch_size)),
        )
        for number, layer in enumerate(found.layers)
    )
    return replace(
        found,
        layers=layers,
        batch_size=batch_size,
        input_shape=(batch_size, 3, 4, 4),
        input_bytes=192 * batch_size,
        whole_step_s=10.0 * batch_size,
    )


def straight(layer: int, batch: int) -> float:
    return (1 + layer) * 1e-3 + 2e-3 * batch


def test_costs_that_are_lines_are_met_exactly_at_every_size() -> None:
    found = fit([at(batch, straight) for batch in (16, 1, 4)])
    assert found.step_error == pytest.approx(0)
    assert found.layer_error == pytest.approx(0)
    for batch in range(1, 17):
        given, wanted = found.at(batch), at(batch, straight)
        assert given.batch_size == batch
        assert given.input_shape == wanted.input_shape
        assert given.input_bytes == wanted.input_bytes
        assert given.whole_step_s == pytest.approx(wanted.whole_step_s)
        assert given.closure_error == pytest.approx(parts_s(wanted.layers, wanted.loss) / wanted.whole_step_s - 1)
        for one, other in zip(given.layers, wanted.layers, strict=True):
            assert one.step_s == pytest.approx(other.step_s)
            assert one.output_bytes == other.output_bytes
            assert one.forward is not None
            assert one.forward.high_s - one.forward.median_s == pytest.approx(other.forward_s)


def test_the_stated_error_is_that_of_a_line_which_had_not_seen_the_middle() -> None:
    """At batch 4 the middle layer takes 5 ms forward where its line has 4, and 10 backward."""
    bent = fit([at(batch, lambda layer, b: 1e-3 * b + (1e-3 if (layer, b) == (1, 4) else 0)) for batch in BATCHES])
    assert bent.checked_batch_size == 4
    assert bent.layer_error == pytest.approx(1 - 4 / 5)
    # Of three layers at 12 ms each and the loss's 0.2 ms, 3 ms are missing.
    assert bent.step_error == pytest.approx(36.2 / 39.2 - 1)


def test_the_kept_line_is_that_of_least_relative_squares() -> None:
    times = {1: 1e-3, 4: 6e-3, 16: 15e-3}
    found = fit([at(batch, lambda _layer, b: times[b]) for batch in BATCHES])
    # A second way: solve the weighted normal equations.
    matrix = np.array([[1 / times[b], b / times[b]] for b in BATCHES])
    start, slope = np.linalg.solve(matrix.T @ matrix, matrix.T @ np.ones(3))
    for batch in (1, 7, 16):
        assert found.at(batch).layers[0].forward_s == pytest.approx(start + slope * batch)


def test_no_time_is_ever_negative() -> None:
    times = {1: 1e-6, 4: 1e-6, 16: 1e-2}
    found = fit([at(batch, lambda _layer, b: times[b]) for batch in BATCHES])
    assert all(layer.forward_s >= 0 for batch in range(1, 17) for layer in found.at(batch).layers)


@pytest.mark.parametrize("batch_size", [0, 17])
def test_outside_of_the_ends_nothing_is_claimed(batch_size: int) -> None:
    found = fit([at(batch, straight) for batch in BATCHES])
    with pytest.raises(ProfilerError, match="answers for batch sizes 1 to 16"):
        found.at(batch_size)


@pytest.mark.parametrize(
    "change",
    [{"model_digest": "x"}, {"machine": replace(MACHINE, cpu="x")}, {"update_rule": "adam"}, {"batch_size": 1}],
)
def test_profiles_that_do_not_belong_together_are_refused(change: dict[str, object]) -> None:
    profiles = [at(batch, straight) for batch in BATCHES]
    with pytest.raises(ProfilerError):
        fit([profiles[0], replace(profiles[1], **change), profiles[2]])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 1}, {"layers": ()}, {"complete": False}, {"model_digest": "x"}],
)
def test_a_fit_whose_ends_do_not_belong_together_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    found = fit([at(batch, straight) for batch in BATCHES])
    whole = to_json(found)
    broken = to_json(replace(found.high, **change))  # type: ignore[arg-type]
    raw = msgspec.json.decode(whole)
    raw["high"] = msgspec.json.decode(broken)
    write_whole(tmp_path / "fit.json", msgspec.json.encode(raw))
    with pytest.raises(FileError, match="make it anew"):
        read_profile(tmp_path / "fit.json", 4)


def test_a_fit_is_a_file_that_is_told_from_a_profile_by_its_content(tmp_path: Path) -> None:
    found = fit([at(batch, straight) for batch in BATCHES])
    write_whole(tmp_path / "fit.json", to_json(found))
    write_whole(tmp_path / "profile.json", to_json(at(4, straight)))
    assert read_json(tmp_path / "fit.json", Fit) == found
    assert read_profile(tmp_path / "fit.json", 6) == found.at(6)
    assert read_profile(tmp_path / "profile.json", 6) == at(4, straight), "which size fits is for the caller to judge"
    with pytest.raises(FileError, match="choose one with --batch-size"):
        read_profile(tmp_path / "fit.json")


def test_a_fit_that_was_far_off_where_it_was_checked_casts_doubt_on_what_is_read_off_it() -> None:
    ends = [at(1, straight), at(16, straight)]
    bent = at(4, lambda layer, batch: 3 * straight(layer, batch))
    assert any("read off a fit that gave" in doubt for doubt in doubts(fit([*ends, bent]).at(8)))
    assert not any("read off a fit" in doubt for doubt in doubts(fit([*ends, at(4, straight)]).at(8)))
