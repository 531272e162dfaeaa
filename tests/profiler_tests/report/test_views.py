"""What a profile says of itself: its doubts, and its rows as a table."""

from dataclasses import replace

import pytest
from strategies import COPY_COST, chain, layer, profile

from profiler.commands import MODULES, typed_as
from profiler.profile import INPUT, Profile, profile_warnings
from profiler.report import costliest, rows
from profiler.rounds import drift, foreign_load


def three() -> Profile:
    layers = [layer("a", (1, 2, 3)), layer("b|c", (10, 20, 30)), layer("d", (4, 5, 6))]
    return profile(layers, [(INPUT, "a"), ("a", "b|c"), ("b|c", "d")])


def test_a_good_profile_has_no_doubts() -> None:
    assert profile_warnings(chain([1, 2])) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"closure_error": 0.2}, "add up to 20.0% more"),
        ({"closure_error": -0.2, "foreign_load": 0.0}, "changing clock"),
        ({"closure_error": -0.7}, "does something beside its layers, such as checkpointing"),
        ({"closure_error": -0.2, "foreign_load": 0.5}, "because this core worked for others"),
        ({"foreign_load": 0.25}, "worked for others in 25%"),
        ({"uncertainty": 0.3, "rounds": 100}, "end what else runs"),
        ({"uncertainty": 0.3}, "±30% only, after 9 rounds"),
        ({"uncertainty": 0.3}, "cannot be told apart on so loud a machine"),
        ({"uncertainty": 0.1}, "differ by less than 10% cannot be told apart"),
    ],
)
def test_each_doubt_names_its_figure_and_a_remedy(change: dict[str, float], words: str) -> None:
    with typed_as(MODULES):
        text = " ".join(profile_warnings(replace(chain([1, 2]), **change)))  # type: ignore[arg-type]
    assert words in text
    assert any(remedy in text for remedy in ("profile again", "--cores", "--budget", "end what else", "leave that out"))


def test_drift_compares_the_last_third_with_the_first() -> None:
    assert drift([1.0, 1.0, 9.0, 9.0, 2.0, 2.0]) == 1.0
    assert drift([1.0, 2.0]) == 0.0


def test_foreign_load_is_what_the_core_did_for_others() -> None:
    assert foreign_load([2.0, 2.0], [1.0, 2.0]) == 0.25
    assert foreign_load([1.0], [1.5]) == 0.0


def test_rows_are_in_captured_order_or_the_costliest_first() -> None:
    assert [row[0] for row in rows(three()).layers] == ["a", "b|c", "d", "loss"]
    assert [row[0] for row in costliest(three()).layers] == ["b|c", "d", "a"]
    assert [row[0] for row in costliest(three(), top=1).layers] == ["b|c"]
    assert "Shown: the top 1 of 3 layers" in costliest(three(), top=1).facts
    assert "--all" not in costliest(three()).facts, "which has them all"


def test_a_row_holds_every_cost_that_a_stage_pays() -> None:
    found = dict(zip(rows(three()).names, rows(three()).layers[1], strict=True))
    assert (found["forward ms"], found["backward ms"], found["update ms"]) == ("10.0", "20.0", "30.0")
    assert found["send ms"] == f"{COPY_COST.seconds(1000) * 1e3:.3f}"
    assert found["share"] == f"{60 / 81.2:.1%}"
