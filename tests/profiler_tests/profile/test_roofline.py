import re
from dataclasses import replace

import pytest
from strategies import layer, profile

from profiler.profile import INPUT, Layer, Peaks, Profile, bound, intensity, of_roof, ridge
from profiler.report import roofline_svg, rows
from profiler.report.columns import columns

PEAKS = Peaks(flops_per_s=100e9, bytes_per_s=10e9)


def working(flops: int, touched: int, name: str = "a") -> Layer:
    return replace(layer(name), flops=flops, backward_flops=0, touched_bytes=touched, backward_touched_bytes=0)


def both() -> Profile:
    layers = [working(10_000_000, 100), working(5, 100, "b")]
    return replace(profile(layers, [(INPUT, "a"), ("a", "b")]), peaks=PEAKS)


def test_the_ridge_parts_what_arithmetic_bounds_from_what_memory_bounds() -> None:
    assert ridge(PEAKS) == 10
    assert bound(working(1000, 100), PEAKS) == "compute"
    assert bound(working(999, 100), PEAKS) == "memory"
    assert bound(working(0, 0), PEAKS) == "", "a view is bound by nothing"
    assert bound(working(1000, 100), None) == ""
    assert intensity(working(0, 0)) == 0


def test_the_share_of_the_roof_tells_what_neither_bound_explains() -> None:
    """3 ms at 1000 operations a byte could do 300 million operations, at 1 a byte 30 million."""
    assert of_roof(working(150_000_000, 150_000), PEAKS) == pytest.approx(0.5)
    assert of_roof(working(15_000_000, 15_000_000), PEAKS) == pytest.approx(0.5)
    assert of_roof(working(0, 100), PEAKS) == 0
    assert of_roof(working(100, 100), None) == 0


def test_the_intensity_view_says_what_each_layer_achieves() -> None:
    found = rows(both(), views=("intensity",))
    cells = dict(zip(found.names, found.layers[0], strict=True))
    assert cells["GFLOP/s"] == f"{10e6 / 3e-3 / 1e9:.1f}"
    assert cells["bound"] == "compute"
    assert "100 GFLOP/s" in found.facts
    assert "layers of 10.0 FLOP/byte and more are compute-bound" in found.facts


def test_the_memory_view_sets_the_sum_beside_the_measured_peak() -> None:
    found = replace(both(), peak_memory_bytes=2000)
    parts = found.memory_parts
    assert parts == (200, 200, 200, 400, 0)
    assert "50.0% less than the 0.00 MiB that a whole step took" in rows(found, views=("memory",)).facts
    assert replace(found, momenta=0).memory_parts[2] == 0
    assert (found.heap_bytes, replace(found, peak_memory_bytes=900).heap_bytes) == (1000, 0)
    assert "keeps no peak" in rows(replace(found, peak_memory_bytes=None), views=("memory",)).facts


def test_busy_neighbours_are_told_of_below_the_table() -> None:
    alone = both()
    assert "busy" not in rows(alone).facts
    beside = replace(alone, neighbours=2, beside_s=(1.1, 1.25), whole_step_s=1.0)
    assert "(1250.0 ms with 2 other cores busy, as timed here)" in rows(beside).facts


@pytest.mark.parametrize("view", ["time", "memory", "intensity"])
def test_every_view_has_columns_and_a_total(view: str) -> None:
    found = rows(both(), views=(view,))  # type: ignore[arg-type]
    assert len(found.total) == len(found.names) == 2 + len(columns(both(), (view,)))  # type: ignore[arg-type]
    assert any(found.total[2:])


def test_the_plot_names_the_layers_and_is_the_same_each_time() -> None:
    drawn = roofline_svg(both())
    assert drawn.startswith(b"<?xml")
    assert b"a, 50%" in drawn
    assert b"roof: 100 GFLOP/s, 10.0 GB/s" in drawn
    assert drawn == roofline_svg(both())
    assert b"mathdefault" not in drawn
    assert {b">1<", b">10<"} <= set(re.findall(rb">[\d.]+<", drawn)), "ticks are numbers"
