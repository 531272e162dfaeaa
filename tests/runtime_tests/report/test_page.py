"""The report: what it says, that it stands alone, and that a browser shows it at any width."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from comparisons import asked, comparison, planner, plans, with_runs
from pages import found_by, needs_browser
from strategies import MACHINE

from optimizer.planning import load_schemes
from optimizer.what_if import chain_of
from profiler.files import from_json, to_json
from runtime.compare import Comparison
from runtime.report import write_report
from runtime.report.page import rendered

NARROW = 375


def one(**changes: object) -> Comparison:
    speeds = {"optimized": (20.0, 21.0, 20.0), "end-load": (10.0, 10.5, 10.0), "middle-load": (15.0, 15.0, 15.1)}
    return comparison(
        speeds,
        named=plans(*speeds, "front-load"),
        plain=(9.0, 9.1, 9.0),
        **changes,  # type: ignore[arg-type]
    )


def movable() -> Comparison:
    """One with the costs that cuts can be moved with."""
    return replace(one(), chain=chain_of(planner(), load_schemes()))


def several() -> list[Comparison]:
    return [asked(one(batch_size=size), model=model) for model in ("alexnet", "vgg16") for size in (1, 16)]


@pytest.fixture(scope="module")
def page() -> str:
    """The page on several comparisons."""
    return rendered(several())


class Reader(HTMLParser):
    """Notes what a page is made of, and refuses tags that are not closed."""

    VOID = ("meta", "link", "br", "path", "use", "rect", "line", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.count = 0

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [value for value in [found.get("id")] if value]
        self.links += [value for name in ("href", "src") if (value := found.get(name))]
        self.count += tag == "svg"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"{tag} is closed out of turn"


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    return reader


def test_the_page_needs_nothing_else_and_is_small(page: str) -> None:
    reader = read(page)
    assert all(link.startswith(("#", "data:")) for link in reader.links), "nothing is fetched"
    assert "<script" not in page
    assert "url(http" not in page
    assert not re.search(r"(src|href)=\"https?:", page)
    assert len(page.encode()) < 2_000_000
    assert reader.count == 4 * (2 + 2), "speeds, stages, two timelines each"
    assert len(set(reader.ids)) == len(reader.ids), "no two pictures share a name"
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_same_file_gives_the_same_page(tmp_path: Path) -> None:
    found = one()
    kept = from_json(to_json(found), Comparison, "comparison.json")
    assert rendered([kept]) == rendered([found])
    write_report([found], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == rendered([found])


def test_the_sentence_comes_first_then_the_ranking_and_the_rest_is_folded() -> None:
    found = one()
    page = rendered([found])
    said = page.index("optimized = front-load is the fastest: 3")
    assert page.index("FIRM.") < said < page.index("<table") < page.index("<details>") < page.index("<svg")
    for text in ("Predictions were off", "Why:", "to split: ", "optimized = front-load", "plain PyTorch, 2 threads",
                 "Every stage of every split", MACHINE.cpu):  # fmt: skip
        assert text in page, text
    assert read(page).count == 4, "speeds, stages, two timelines"


def test_a_run_that_failed_is_said_and_the_rest_is_shown() -> None:
    speeds = {"optimized": (20.0, 21.0), "end-load": (None, 10.0), "middle-load": (None, None)}
    found = comparison(speeds)
    page = rendered([found])
    read(page)
    assert "FAILED: figures of end-load, middle-load are of fewer rounds, or there are none: 3 runs failed" in page
    assert "stage 1 of middle-load was ended by SIGKILL" in page
    assert "20.5" in page


@pytest.mark.parametrize(
    "found",
    [
        comparison({"optimized": (1.0,), "end-load": (2.0,)}),
        comparison({"optimized": (None,), "end-load": (None,)}),
        comparison({"optimized": (1.0, 2.0)}),
        replace(comparison(repeats=9), left_out=("test: study is left out",)),
        with_runs(comparison(repeats=2), ()),
        comparison(cores=(0, 0)),
    ],
    ids=["one repeat", "all failed", "one split", "unfinished", "nothing ran", "shared cores"],
)
def test_a_meagre_comparison_is_rendered_all_the_same(found: Comparison) -> None:
    again = with_runs(found, found.runs)
    read(rendered([again]))


def test_cuts_can_be_moved_where_costs_are_kept_and_a_page_without_javascript_says_so() -> None:
    found = movable()
    assert from_json(to_json(found), Comparison, "comparison.json") == found
    page = rendered([found])
    assert page.count('<div class="what-if"><p>This page moves cuts with JavaScript') == 1
    assert page.count("const whatIf") == 1
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert read(page).count == read(rendered([one()])).count
    assert "<script" not in rendered([one()])


def test_names_are_text_and_no_markup() -> None:
    found = replace(one(model="<b>&:x"), command="python -m runtime compare --model '<i>'")
    page = rendered([found])
    read(page)
    assert "<b>&:x" not in page
    assert "<i>" not in page


PROBE = """
<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(
    one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll") && !one.closest("svg"));
  const flat = [...document.querySelectorAll("svg")].filter(one => one.getBoundingClientRect().height < 40);
  const small = [...document.querySelectorAll("svg text")].map(
    one => one.getBoundingClientRect().height).filter(one => one > 0 && one < 6);
  const empty = [...document.querySelectorAll("h2, h3, summary")].filter(
    one => !one.nextElementSibling || /^H[123]$/.test(one.nextElementSibling.tagName)
           || !(one.nextElementSibling.textContent.trim() || one.nextElementSibling.querySelector("svg")));
  parent.postMessage(JSON.stringify({inner: innerWidth, scroll: document.documentElement.scrollWidth,
    wide: wide.map(one => one.tagName), pictures: document.querySelectorAll("svg").length, flat: flat.length,
    small: small.length, empty: empty.map(one => one.textContent)}), "*");
});
</script>
"""
FRAME = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script>addEventListener("message", one => { document.body.dataset.found = one.data; });</script>
<iframe src="page.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe>"""


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [NARROW, 1280])
@pytest.mark.parametrize("pages", ["one", "cuts to move", "three models", "several sizes"])
def test_a_browser_shows_the_page_without_errors_empty_sections_and_scrolling_sideways(
    width: int, pages: str, tmp_path: Path, page: str
) -> None:
    three = [asked(one(), model=model) for model in ("alexnet", "vgg16", "resnet50")]
    if pages != "several sizes":
        page = rendered({"one": [one()], "cuts to move": [movable()]}.get(pages, three))
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{PROBE}</body>"))
    (tmp_path / "frame.html").write_text(FRAME.replace("WIDTH", str(width)))
    found = found_by(tmp_path / "frame.html", "--window-size=1300,1000", "--virtual-time-budget=4000")
    assert found["inner"] == width
    assert found["scroll"] <= width, f"wider than the screen: {found['wide']}"
    assert found["wide"] == []
    assert found["pictures"] == read(page).count + (pages == "cuts to move"), "the picture of cuts is drawn there"
    assert found["flat"] == 0, "every picture is drawn"
    assert found["small"] == 0, "all its text can be read"
    assert found["empty"] == [], "every heading has something below it"
