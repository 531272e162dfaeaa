"""Tables, sentences and warnings of a comparison, read as a reader would: none may contradict another."""

import html
import re
from dataclasses import dataclass, replace
from functools import cache
from unittest.mock import patch

import numpy as np
import pytest
from comparisons import comparison, plans, with_runs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from strategies import chain

from optimizer.plan import Plan
from profiler.files import from_json, to_json
from runtime.compare import Comparison
from runtime.report import advice, show_comparison
from runtime.report.findings import answer, worth
from runtime.report.page import _environment, rendered
from runtime.report.warnings import FIRM, firmness, remedy, too_loud

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
ROUNDS = 6
NO_PICTURES = {
    "pictures": [{"speeds": "", "stages": "", "layers": "", "what_if": "", "timelines": []}], "style": "", "script": "",
    "promise": "", "across": "", "references": "", "by_batch_size": [""], "layers_of": [[]], "timelines_of": [[]],
}  # fmt: skip
ENVIRONMENT = cache(_environment)
PROFILE = chain([3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 8, 9])


def splits() -> dict[str, Plan]:
    """Three splits that have two names each, and two that nobody asked for."""
    named = plans("optimized", "middle-load", "end-load", "front-load", "equal-load", "end-heavy", profile=PROFILE)
    for number, weights in enumerate(([1, 1, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1], [9, *[1] * 11]), 1):
        named[f"spaced-{number}"] = plans("optimized", profile=chain(weights))["optimized"]
    return named


NAMED = splits()
TIES: dict[str, tuple[float | None, ...]] = {
    "optimized": (10.0, 10.0), "middle-load": (11.0, 9.0), "end-load": (9.9, 10.1), "spaced-1": (8.0, 8.0),
    "spaced-2": (30.0, 9.0),
}  # fmt: skip
REFERENCES = {
    "optimized": NAMED,
    "sliced": NAMED | {"sliced": NAMED["optimized"]},
    "middle-load": {name: plan for name, plan in NAMED.items() if name not in {"optimized", "front-load"}},
}
"""Partitions by the one that ratios are about; ``sliced`` has the split of ``optimized``, whose runs it shows."""
RUN = st.sampled_from([None, 8.0, 9.0, 9.9, 10.0, 10.1, 11.0, 12.5, 30.0])
"""Few figures, so that ties and equal medians are common; None is a run that failed."""


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    """A comparison of up to six rounds, of which the last may have been cut off."""
    named = REFERENCES[draw(st.sampled_from(list(REFERENCES)))]
    own = [name for name, plan in named.items() if plan is next(p for p in named.values() if p.split == plan.split)]
    rounds = draw(st.integers(1, ROUNDS))
    speeds = {name: draw(st.lists(RUN, min_size=rounds, max_size=rounds)) for name in own if name != "sliced"}
    alone = draw(st.lists(st.sampled_from([5.0, 9.9, 10.0, 10.1]), min_size=rounds, max_size=rounds))
    whole = comparison(speeds, named=named, profile=PROFILE, one_core=alone, plain=alone[::-1])
    kept = draw(st.sets(st.sampled_from([*speeds, "one core"])))
    runs = [run for run in whole.runs if run.round < rounds or run.name in kept or rounds == 1]
    return with_runs(replace(whole, request=replace(whole.request, repeats=rounds)), runs)


@st.composite
def machines(draw: st.DrawFn) -> Comparison:
    """A comparison on a simulated machine, quiet to hopeless, of up to four rounds."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    named = REFERENCES["optimized"]
    own = [name for name, plan in named.items() if plan is next(p for p in named.values() if p.split == plan.split)]
    rounds, noise = draw(st.integers(1, 4)), draw(st.sampled_from([0.005, 0.02, 0.05, 0.15, 0.4]))
    speeds = {name: (10 * np.exp(random.normal(0, 0.2) + random.normal(0, noise, rounds))).tolist() for name in own}
    unsplit = [(10 * np.exp(random.normal(-0.2, 0.3) + random.normal(0, noise, rounds))).tolist() for _ in range(2)]
    return comparison(
        speeds, named=named, profile=PROFILE, one_core=unsplit[0],
        plain=unsplit[1], load=draw(st.sampled_from([0.0, 0.02, 0.1, 0.5])), full=draw(st.booleans()),
    )  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row of a table as it is printed."""

    rank: str
    names: str
    speed: str
    ratio: str

    @property
    def behind(self) -> float:
        return float(self.ratio.partition(" ")[0].strip(","))

    @property
    def low(self) -> float:
        told = re.search(r"\(([\d.]+) –", self.ratio)
        return float(told[1]) if told else 1.0


def page(text: str) -> list[Row]:
    rows = []
    for line in re.findall(r"<tr(?: class=\"ours\")?>(<td>(?:\d+=?|–|)</td>.*?)</tr>", text):
        cells = [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", line)]
        if len(cells) == 8:
            rows.append(Row(*cells[:4]))
    return rows


def printed(found: Comparison, width: int = 80) -> str:
    console = Console(width=width, record=True, highlight=False, markup=False)
    with console.capture() as text:
        show_comparison(found, console, [line for line in (advice(found, "train it"),) if line])
    return text.get()


@settings(deadline=None, max_examples=140)
@given(comparisons() | machines())
@example(comparison({name: own[:1] for name, own in TIES.items()}, named=NAMED, profile=PROFILE))
@example(comparison(TIES, named=NAMED, profile=PROFILE))
@example(comparison(dict.fromkeys(TIES, (10.0, 10.1, 9.9)), named=NAMED, profile=PROFILE))
def test_whatever_the_rounds_were_what_is_shown_never_contradicts_itself(found: Comparison) -> None:
    assert from_json(to_json(found), Comparison, "comparison.json") == found
    nothing_contradicts_itself(found)


def nothing_contradicts_itself(found: Comparison) -> None:
    with (
        patch("runtime.report.page._pictures", lambda _comparisons: NO_PICTURES),
        patch("runtime.report.page._environment", ENVIRONMENT),
    ):
        shown = html.unescape(rendered([found]))
    screen = printed(found)
    table = [row for row in page(shown) if row.rank]
    unsplit = [row for row in page(shown) if not row.rank]
    assert unsplit[0].names == "one core"
    assert len(table) == len(found.splits)
    the_table_agrees_with_itself(table)
    for text in (screen, shown):
        assert answer(found) in " ".join(text.split())
    assert all(len(line) <= 80 for line in screen.splitlines())
    ran = [row for row in table if re.match(r"[\d.]+$", row.speed)]
    the_answer_agrees_with_the_table(found, ran)
    nobody_is_recommended_who_loses(found, [row for row in unsplit if row.ratio], screen)


def the_table_agrees_with_itself(table: list[Row]) -> None:
    ran = [row for row in table if row.ratio]
    assert ran == table[: len(ran)], "what did not run stands behind"
    assert [row.behind for row in ran] == sorted(row.behind for row in ran)
    assert [float(row.speed) for row in ran] == sorted((float(row.speed) for row in ran), reverse=True)
    ranks = [int(row.rank.strip("=")) for row in ran]
    assert all(rank in {1, place} for place, rank in enumerate(ranks, 1))
    for row in ran:
        assert row.rank.endswith("=") == (int(row.rank.strip("=")) == 1 < ranks.count(1)), "nobody ties alone"
        told_apart = row.low > 1 or row.ratio.endswith(", out")
        assert told_apart == (row.rank.strip("=") != "1"), "a rank says what the interval says"
        assert float(row.speed) * row.behind == pytest.approx(float(ran[0].speed), rel=0.02)


def the_answer_agrees_with_the_table(found: Comparison, ran: list[Row]) -> None:
    said, firm = answer(found), firmness(found)
    assert (firm == FIRM) <= (remedy(found) == "")
    if too_loud(found):
        assert not said
        assert "too loud to tell" in firm
        return
    if len(ran) < 2:
        assert said == "No split came through." if not ran else said.startswith(ran[0].names)
        return
    first, *others = ran
    ties = [row for row in others if row.rank == first.rank]
    names = [row.names for row in (first, *ties)]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    if "leads" in said:
        assert firm.startswith("NOT FIRM")
    else:
        assert firm == FIRM or ties, "who is the fastest is so firmly"
        assert said.startswith(f"{listed} are too close to tell apart" if ties else f"{listed} is the fastest: ")
        assert "may be faster" not in firm
    next_one = others[0] if "leads" in said or not ties else next((row for row in others if row not in ties), None)
    after = re.search(r"(?:faster than|slower than|as fast as) ([a-z]+(?:-[a-z0-9]+)*)", said)
    assert (after[1] if after else None) == (next_one.names.split(" = ")[0] if next_one else None)
    if told := re.search(r"(\d+)% faster than", said):
        assert next_one
        assert int(told[1]) == pytest.approx(100 * (next_one.behind - 1), abs=0.6)


def nobody_is_recommended_who_loses(found: Comparison, unsplit: list[Row], screen: str) -> None:
    said = worth(found)
    recommended = re.search(r"(?<!split: )[Tt]rain\swith", screen) is not None
    assert not (recommended and "Do not split" in screen)
    if too_loud(found):
        assert not said
        assert not recommended
        return
    if recommended:
        assert all(row.behind >= 1 for row in unsplit), "what loses to one core or plain PyTorch is not recommended"
        assert "does not pay" not in said
    if "It pays" in said:
        assert all(row.low > 1 for row in unsplit)


@pytest.mark.parametrize(("load", "cores", "doubt"), [(0.2, (0, 1), "NOISY"), (0.0, (0, 0), "NOT COMPARABLE")])
def test_figures_under_a_doubt_are_shown_and_the_doubt_beside_them(
    load: float, cores: tuple[int, ...], doubt: str
) -> None:
    speeds = {"optimized": (20.0, 21.0, 20.0), "end-load": (10.0, 10.5, 10.0)}
    found = comparison(speeds, load=load, cores=cores)
    other = replace(found, began_at="2026-01-02T00:00:00+00:00")
    assert found.comparable == (doubt == "NOISY"), "of that alone the file speaks"
    for shown in (printed(found), rendered([found, other])):
        text = " ".join(html.unescape(shown).split())
        assert doubt in text
        assert ("NOT FIRM" in text) != (doubt == "NOISY"), "twice as fast is more than 20% of a core could make it look"
        assert "20." in text
        assert "10." in text
