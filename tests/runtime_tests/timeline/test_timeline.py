"""Traces, bubble tables and pictures of made-up runs, checked by what a reader of them relies on."""

import io
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from runs import run_of

from optimizer.schedule import SCHEDULES, ScheduleName
from runtime.timeline import bubbles_of, picture_of, show_run, trace_of

CASES = st.tuples(
    st.sampled_from(list(SCHEDULES)), st.integers(1, 7), st.lists(st.floats(0.01, 3.0), min_size=1, max_size=4)
)


@settings(deadline=None, max_examples=40)
@given(CASES)
def test_a_trace_nests_and_its_arrows_lead_from_each_send_to_its_reader(
    case: tuple[ScheduleName, int, list[float]],
) -> None:
    result = run_of(*case)
    stages, minibatches = len(case[2]), case[1]
    events = json.loads(trace_of(result))["traceEvents"]
    tracks: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in events:
        if event["ph"] == "X":
            tracks.setdefault((event["pid"], event["tid"]), []).append((event["ts"], event["ts"] + event["dur"]))
    for spans in tracks.values():
        ordered = sorted(spans, key=lambda span: (span[0], -span[1]))
        open_: list[tuple[float, float]] = []
        for start, end in ordered:
            while open_ and open_[-1][1] <= start + 0.01:
                open_.pop()
            assert not open_ or end <= open_[-1][1] + 0.01, "what begins inside of another ends inside of it"
            open_.append((start, end))
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert set(starts) == set(ends)
    assert len(starts) == 2 * (stages - 1) * minibatches
    for key, start in starts.items():
        assert start["ts"] <= ends[key]["ts"] + 0.01
        assert abs(start["pid"] - ends[key]["pid"]) == 1
        for event in (start, ends[key]):
            assert any(a - 0.01 <= event["ts"] <= b + 0.01 for a, b in tracks[event["pid"], event["tid"]])
    assert len({event["pid"] for event in events}) == stages


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_the_parts_of_every_stage_add_up_to_the_makespan(case: tuple[ScheduleName, int, list[float]]) -> None:
    result = run_of(*case)
    for one, stage in zip(bubbles_of(result), result.stages, strict=True):
        assert sum(one.values()) - one["imbalance"] == pytest.approx(result.makespan_s)
        assert one["busy"] == pytest.approx(sum(record.end_s - record.start_s for record in stage.actions))
        assert min(one.values()) >= 0
        assert one["imbalance"] <= one["starved"] + one["blocked"] + 1e-9


def test_bubbles_of_a_balanced_pipeline_are_warm_up_and_drain_alone() -> None:
    """Three stages, forward as long as backward: (S − 1 − s) forwards and as many backwards of the others."""
    result = run_of("gpipe", 6, [1.0, 1.0, 1.0], every=6)
    first, _, last = bubbles_of(result)
    assert first["starved"] == pytest.approx(0)
    assert last["starved"] == pytest.approx(0)
    assert last["warm-up"] == pytest.approx(2 * 1.1)
    assert last["drain"] == pytest.approx(2 * 1.1)


def test_a_slow_last_stage_blocks_the_first_and_a_slow_first_one_starves_the_last() -> None:
    slow_last = bubbles_of(run_of("1f1b", 12, [1.0, 5.0]))
    assert slow_last[0]["blocked"] > 10 * max(slow_last[0]["starved"], 0.1)
    assert slow_last[0]["imbalance"] > 0.8 * slow_last[0]["blocked"], "which no schedule saves"
    slow_first = bubbles_of(run_of("1f1b", 12, [5.0, 1.0]))
    assert slow_first[1]["starved"] > 10 * max(slow_first[1]["blocked"], 0.1)


def test_the_picture_has_a_row_for_each_stage_and_a_number_for_each_minibatch() -> None:
    result = run_of("1f1b", 4, [1.0, 1.0, 2.0])
    picture = picture_of(result).decode()
    assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - our own
    assert picture == picture_of(result).decode(), "the same run gives the same picture"
    assert all(f">stage {number}</text>" in picture for number in range(3))
    assert ">3</text>" in picture


@pytest.mark.parametrize(("load", "noisy"), [(0.0, False), (0.61, True)])
def test_a_run_on_cores_that_worked_for_others_shows_its_figures_and_the_doubt(load: float, noisy: bool) -> None:  # noqa: FBT001
    result = run_of("1f1b", 12, [1.0, 1.0])
    whole = result.stages[0].whole
    whole = replace(whole, cpu_s=(1 - load) * (whole.forward_s + whole.backward_s + whole.update_s))
    stages = (replace(result.stages[0], whole=whole), *result.stages[1:])
    console = Console(file=io.StringIO(), width=300)
    show_run(replace(result, stages=stages, comparable=True), console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    doubt = "NOISY: figures may be off by up to 61%: core 0 worked for others 61% of the time; end what else runs there"
    assert (doubt in printed) == noisy
    assert "comparable" not in printed
    assert "1.0 samples/s" in printed
