"""Schedules, against a paper's order and against the rule written once more, as a clock that ticks."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paces import drawn_pace, some_schedule
from simulations import orders, simulated

from optimizer.schedule import (
    Action,
    Duration,
    Kind,
    Pace,
    ScheduleName,
    groups,
    pace_of,
    schedule_of,
    simulate,
)
from profiler.errors import ConfigError


def test_1f1b_runs_as_in_the_paper_where_all_takes_the_same() -> None:
    spans = simulated(some_schedule("1f1b", 3, 4, 1), [Duration(1, 1, 0)] * 3)
    assert [" ".join(map(str, row)) for row in orders(spans)] == [
        "0F0 0F1 0F2 0B0 0U0 0F3 0B1 0U1 0B2 0U2 0B3 0U3",
        "1F0 1F1 1B0 1U0 1F2 1B1 1U1 1F3 1B2 1U2 1B3 1U3",
        "2F0 2B0 2U0 2F1 2B1 2U1 2F2 2B2 2U2 2F3 2B3 2U3",
    ]


@pytest.mark.parametrize(("every", "most"), [(1, 1000), (8, 1000), (64, 1024), (300, 1200)])
def test_a_run_has_a_thousand_minibatches_or_four_updates_at_most(every: int, most: int) -> None:
    pace = Pace("1f1b-flush", every)
    assert schedule_of(pace, 2, most).minibatches == most
    with pytest.raises(ConfigError, match=f"^{most + 1:,} minibatches .*; give --batches {most} or fewer"):
        schedule_of(pace, 2, most + 1)


@given(data=st.data(), stages=st.integers(1, 16), minibatches=st.integers(1, 40))
def test_every_minibatch_passes_every_stage_once_and_in_order_whatever_takes_long(
    data: st.DataObject, stages: int, minibatches: int
) -> None:
    pace = drawn_pace(data, stages, (1, 2, 5, 16, 31))
    draw = data.draw(st.randoms(use_true_random=False))
    spans = simulate(pace, stages, minibatches, lambda *_: draw.choice([0.0, 0.1, 1.0, 9.0]))
    for row in orders(spans):
        for kind in ("F", "B", "W") if pace.rule.splits else ("F", "B"):
            assert [action.minibatch for action in row if action.kind == kind] == list(range(minibatches))
        updates = [action.minibatch for action in row if action.kind == "U"]
        assert updates == [group[-1] for group in groups(minibatches, pace.update_every)]
        assert updates[-1] == minibatches - 1, "no gradient is left over"


@given(
    data=st.data(),
    name=st.sampled_from(["zero-bubble", "1f1b", "1f1b-flush", "gpipe"]),
    stages=st.integers(1, 5),
    minibatches=st.integers(1, 14),
    every=st.integers(1, 7),
)
def test_a_clock_that_ticks_finds_the_same_times(
    data: st.DataObject, name: ScheduleName, stages: int, minibatches: int, every: int
) -> None:
    held = data.draw(st.integers(1, 2 * stages)) if name == "zero-bubble" else None
    pace = replace(pace_of(name, stages, every, held), meets=name != "1f1b" and data.draw(st.booleans()))
    draw = data.draw(st.randoms(use_true_random=False))
    kinds: tuple[Kind, ...] = ("F", "B", "W", "U")
    took = {
        (stage, kind, minibatch): draw.randint(1, 5)
        for stage in range(stages) for kind in kinds for minibatch in range(minibatches)
    }  # fmt: skip
    spans = simulate(pace, stages, minibatches, lambda *key: took[key])
    starts = {span.action: span.start_s for row in spans for span in row}
    assert starts == ticked(pace, stages, minibatches, took)


def ticked(  # noqa: C901 - the rule has so many cases
    pace: Pace, stages: int, minibatches: int, took: dict[tuple[int, Kind, int], int]
) -> dict[Action, int]:
    """When each action starts: at every tick each free stage does the first thing that the rule lets it do.

    "B as soon as its gradient is there; else F, while fewer than so many are between F and B, fewer than H between F
    and W, and the update that it needs is done; else W, oldest first; the update when M W are done." For 1f1b: F while
    fewer than so many are between F and B, else B; an update after each.
    """
    every, split = pace.update_every, pace.name == "zero-bubble"
    begun: dict[Action, int] = {}
    free = [0] * stages
    now = 0

    def done(stage: int, kind: Kind, minibatch: int) -> bool:
        action = Action(stage, kind, minibatch)
        return action in begun and begun[action] + took[stage, kind, minibatch] <= now

    def count(stage: int, kind: Kind) -> int:
        return sum(done(stage, kind, b) for b in range(minibatches))

    def what(stage: int) -> Action | None:
        depth = stages - stage
        ahead = {"zero-bubble": 2 * depth - 1, "1f1b": depth, "1f1b-flush": depth, "gpipe": every}[pace.name]
        f, b = count(stage, "F"), count(stage, "B")
        w = count(stage, "W") if split else b
        updates = count(stage, "U")
        due = min((updates + 1) * every, minibatches)
        if w == due and not done(stage, "U", due - 1):
            last: Kind = "W" if split else "B"
            all_there = all(done(other, last, due - 1) for other in range(stages))
            return Action(stage, "U", due - 1) if all_there or not pace.meets else None
        fits = f < minibatches and f - b < ahead and (not split or f - w < pace.held)
        arrived = stage == 0 or done(stage - 1, "F", f)
        if pace.name == "1f1b" and fits:
            return Action(stage, "F", f) if arrived else None
        if b < f and (stage == stages - 1 or done(stage + 1, "B", b)):
            return Action(stage, "B", b)
        if fits and arrived and f // every == updates:
            return Action(stage, "F", f)
        return Action(stage, "W", w) if split and w < b else None

    while sum(done(stage, "U", minibatches - 1) for stage in range(stages)) < stages:
        chosen = [what(stage) if free[stage] <= now else None for stage in range(stages)]
        for stage, action in enumerate(chosen):
            if action is not None:
                begun[action] = now
                free[stage] = now + took[stage, action.kind, action.minibatch]
        now += 1
    return begun


@pytest.mark.parametrize(
    ("stages", "every", "held", "least", "most"),
    [
        (4, 8, 7, 0.995, 1.0),
        (8, 16, 15, 0.995, 1.0),
        (2, 8, 2, 0.95, 0.97),
        (4, 8, 4, 0.82, 0.92),
        (8, 16, 8, 0.83, 0.85),
        (4, 4, 7, 0.79, 0.82),
    ],
)
def test_what_zero_bubble_keeps_of_the_pace(stages: int, every: int, held: int, least: float, most: float) -> None:
    """The share of what the slowest stage allows, F, B and W taking 1, in a long run."""
    minibatches = 40 * every
    schedule = schedule_of(pace_of("zero-bubble", stages, every, held), stages, minibatches)
    spans = simulated(schedule, [Duration(1, 1, 0, 1)] * stages)
    ends = [span.end_s for span in spans[-1] if span.action.kind == "U"]
    assert least <= 3 * every * 30 / (ends[35] - ends[5]) <= most
