"""Tables, sentences and warnings of a comparison, read as a reader would: none may contradict another."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from unittest.mock import patch

import pytest
from comparisons import comparison, plans, with_runs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from strategies import chain

from optimizer.plan import Plan
from profiler.files import from_json, to_json
from runtime.compare import Comparison
from runtime.report import show_comparison
from runtime.report.findings import answer, worth
from runtime.report.page import _environment, rendered
from runtime.report.warnings import comparison_warnings

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
    whole = comparison(speeds, named=named, profile=PROFILE, one_core=alone, baselines=[alone[::-1]])
    kept = draw(st.sets(st.sampled_from([*speeds, "one core"])))
    runs = [run for run in whole.runs if run.round < rounds or run.name in kept or rounds == 1]
    return with_runs(replace(whole, request=replace(whole.request, repeats=rounds)), runs)


@dataclass(frozen=True)
class Row:
    """A row of a table as it is printed."""

    rank: str
    names: str
    ratio: str


def markdown(text: str) -> Iterator[Row]:
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"\d+=?|–", cells[0]) and len(cells) == 8:
            yield Row(cells[0], cells[1], cells[5])


def page(text: str) -> Iterator[Row]:
    for line in re.findall(r"<tr(?: class=\"ours\")?>(<td>(?:\d+=?|–)</td>.*?)</tr>", text):
        cells = [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", line)]
        if len(cells) == 8:
            yield Row(cells[0], cells[1], cells[5])


def printed(found: Comparison) -> str:
    console = Console(width=300, record=True, highlight=False, markup=False)
    with console.capture() as text:
        show_comparison(found, console)
    return text.get()


def terminal(text: str) -> Iterator[Row]:
    """The rows of a screen, which leaves ratios to the report."""
    for line in text.splitlines():
        row = re.match(r" +(\d+=?|–) {2,}(\S.*?) {2,}(?:[\d.]+|failed|not run) {2,}", line)
        if row:
            yield Row(row[1], row[2], "")


def median_of(ratio: str) -> float:
    return float(ratio.partition(" ")[0])


TIES: dict[str, tuple[float | None, ...]] = {
    "optimized": (10.0, 10.0), "middle-load": (11.0, 9.0), "end-load": (9.9, 10.1), "spaced-1": (8.0, 8.0),
    "spaced-2": (30.0, 9.0),
}  # fmt: skip
TOO_NOISY = TIES | {"middle-load": (9.0, 9.0), "end-load": (12.5, 5.0)}
"""The last cannot be told from the first, and the one between them can."""


@settings(deadline=None, max_examples=40)
@given(comparisons())
@example(comparison({name: own[:1] for name, own in TIES.items()}, named=NAMED, profile=PROFILE))
@example(comparison(TIES, named=NAMED, profile=PROFILE))
@example(comparison(TOO_NOISY, named=NAMED, profile=PROFILE))
@example(comparison(dict.fromkeys(TIES, (10.0, 10.1, 9.9)), named=NAMED, profile=PROFILE))
def test_whatever_the_rounds_were_what_is_shown_never_contradicts_itself(found: Comparison) -> None:
    assert from_json(to_json(found), Comparison, "comparison.json") == found
    with (
        patch("runtime.report.page._pictures", lambda _comparisons: NO_PICTURES),
        patch("runtime.report.page._environment", ENVIRONMENT),
    ):
        texts = [printed(found), rendered([found], ".md"), html.unescape(rendered([found], ".html"))]
    tables = [list(read(text)) for read, text in zip((terminal, markdown, page), texts, strict=True)]
    assert tables[1] == tables[2]
    assert tables[0] == [replace(row, ratio="") for row in tables[1]]
    assert len(tables[0]) == len(found.splits)
    the_table_agrees_with_itself(tables[1])
    for text in texts:
        assert answer(found) in " ".join(text.split())
    the_answer_agrees_with_the_table(found, tables[1])
    the_warnings_agree_with_the_table(found, tables[1])


def the_table_agrees_with_itself(table: list[Row]) -> None:
    ratios = [median_of(row.ratio) for row in table if row.ratio]
    assert ratios == sorted(ratios)
    assert all(row.ratio for row in table[: len(ratios)]), "what has none stands behind"
    ranks = [int(row.rank.strip("=")) for row in table if row.rank != "–"]
    assert ranks == [1 + sum(other < own for other in ranks) for own in ranks]
    assert ranks == sorted(ranks)
    for row in table:
        if row.rank != "–":
            assert row.rank.endswith("=") == (ranks.count(int(row.rank.strip("="))) > 1)
            assert "(" in row.ratio, "a rank takes several rounds"


def the_answer_agrees_with_the_table(found: Comparison, table: list[Row]) -> None:
    said = answer(found)
    ran = [row for row in table if row.names.split(" = ")[0] in {run.name for run in found.runs if not run.failure}]
    if len(ran) < 2:
        assert said == "No split came through." if not ran else said.startswith(ran[0].names)
        return
    first, *others = ran
    if first.rank == "–":
        assert said.startswith(f"{first.names} ran fastest")
        return
    ties = [row for row in others if row.rank == first.rank]
    names = [row.names for row in (first, *ties)]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    assert re.match(f"{listed} are too close to tell apart" if ties else f"{listed} (?:is the fastest|leads)", said)
    assert ("FEW" not in str(comparison_warnings(found))) or " is the fastest" not in said
    slower = [row.names.split(" = ")[0] for row in others if row.rank not in (first.rank, "–")]
    after = re.search(r"(?:faster than|slower than|times as fast as|ahead of) ([a-z]+(?:-[a-z0-9]+)*)", said)
    assert (after[1] if after else None) == (slower[0] if slower else None)


def the_warnings_agree_with_the_table(found: Comparison, table: list[Row]) -> None:
    warnings = comparison_warnings(found)
    alone = any(warning.startswith("ONE ROUND: no difference here can be told from noise") for warning in warnings)
    few = [warning for warning in warnings if warning.startswith("FEW ROUNDS: noise leaves open whether ")]
    if alone:
        assert not [row for row in table if row.rank != "–"]
        assert not few
        assert "tell apart" not in answer(found)
        said = worth(found)
        names = (table[0].names.split(" = ")[0], "one core", *(own.name for own in found.baselines))
        best, *others = ({run.round for run in found.runs if run.name == name and not run.failure} for name in names)
        shared = [len(best & other) for other in others]
        single = said.startswith("One round cannot tell whether it pays to pipeline")
        assert not said or (1 in shared if single else max(shared) > 1)
    if few:
        told = re.search(r": the median of (\d+) rounds? is known", few[0])
        assert told
        assert int(told[1]) < 6 or table[0].rank == "–"
        assert f"{table[0].names.split(' = ')[0]} or " in few[0]


@pytest.mark.parametrize(("load", "cores", "doubt"), [(0.3, (0, 1), "NOISY"), (0.0, (0, 0), "NOT COMPARABLE")])
def test_figures_under_a_doubt_are_shown_and_marked_wherever_they_stand(
    load: float, cores: tuple[int, ...], doubt: str
) -> None:
    speeds = {"optimized": (20.0, 21.0, 20.0), "end-load": (10.0, 10.5, 10.0)}
    found = comparison(speeds, load=load, cores=cores)
    other = replace(found, began_at="2026-01-02T00:00:00+00:00")
    assert found.comparable == (doubt == "NOISY"), "of that alone the file speaks"
    page_of_both = rendered([found, other], ".html")
    for shown in (printed(found), rendered([found, other], ".md"), page_of_both):
        text = " ".join(html.unescape(shown).split())
        assert f"({doubt})" in text
        assert "20.0" in text
        assert "10.0" in text
        assert ("comparable" in text.lower().replace("not comparable or noisy", "")) == (doubt == "NOT COMPARABLE")
    assert "predictions." not in " ".join(re.findall(r"<figcaption>(.*?)</figcaption>", page_of_both))
