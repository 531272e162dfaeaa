"""Render comparisons as one page, HTML that needs nothing else."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.what_if import script, shown_first, style, what_if_part
from profiler.files import write_whole
from profiler.profile import PLAIN_FORM
from profiler.report import counted, mib
from runtime.compare import Comparison
from runtime.report.findings import (
    answer,
    clock,
    fairness,
    insight,
    largest_layer,
    length_of_run,
    memory,
    not_these_cores,
    race,
    title,
    worth,
)
from runtime.report.tables import RANKS, splits_table, stages_table
from runtime.report.warnings import firmness, left_to_say, mark, remedy

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
_MOST_DETAILED = 4
"""So many comparisons have all their pictures in one page; of more, each has its speeds and its stages."""


def write_report(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write a report on the comparisons."""
    write_whole(path, rendered(comparisons).encode())


def rendered(comparisons: Sequence[Comparison]) -> str:
    """Return the page; the same comparisons give the same text."""
    ordered = sorted(
        comparisons,
        key=lambda own: (own.request.model, own.request.num_stages, own.request.batch_size, own.began_at),
    )
    return _environment().get_template("report.html").render(_facts(ordered) | _pictures(ordered))


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"mib": mib, "counted": counted, "fairness": fairness}
    made.filters |= {"length_of_run": length_of_run, "mark": mark}
    return made


def _facts(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    return {
        "title": ", ".join(dict.fromkeys(comparison.request.model for comparison in comparisons)),
        "version": version("stageplan"),
        "several": len(comparisons) > 1,
        "ranks": RANKS,
        "comparisons": [_about(comparison, f"comparison-{number}") for number, comparison in enumerate(comparisons, 1)],
        "machines": list(dict.fromkeys(comparison.machine for comparison in comparisons)),
        "commands": list(dict.fromkeys(comparison.command for comparison in comparisons)),
    }


def _about(comparison: Comparison, anchor: str) -> dict[str, Any]:
    return {
        "data": comparison,
        "title": title(comparison),
        "anchor": anchor,
        "firmness": firmness(comparison),
        "remedy": remedy(comparison),
        "sentence": " ".join(
            line for line in (not_these_cores(comparison), answer(comparison), worth(comparison)) if line
        ),
        "lines": [
            line
            for line in (
                insight(comparison),
                largest_layer(comparison),
                comparison.audit.verdict,
                memory(comparison),
                comparison.forms,
                race(comparison),
                clock(comparison),
            )
            if line
        ],
        "warnings": [f"{doubt.name}: {doubt.sentence}" for doubt in left_to_say(comparison)],
        "splits": splits_table(comparison),
        "stages": stages_table(comparison),
        "failed": [run for run in comparison.runs if run.failure is not None],
    }


def _pictures(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    from runtime.report import charts

    detailed = len(comparisons) <= _MOST_DETAILED
    own: list[dict[str, Any]] = [
        {
            "speeds": charts.speeds(comparison),
            "stages": charts.stages(comparison),
            "what_if": _what_if(comparison) if detailed else "",
            "timelines": _timelines(comparison) if detailed else [],
        }
        for comparison in comparisons
    ]
    moving = any(each["what_if"] for each in own)
    return {"pictures": own, "style": style() if moving else "", "script": script() if moving else ""}


def _what_if(comparison: Comparison) -> str:
    """Return the picture in which cuts can be moved; nothing where its costs are not kept."""
    chain = comparison.chain
    if chain is None or not chain.pipelines:
        return ""
    plans = [comparison.ours.plan, *(part.plan for part in comparison.partitions)]
    plain = next((plan for plan in plans if plan.form == PLAIN_FORM), plans[0])
    beside = {part.name: part.plan for part in comparison.partitions if part.plan.form.words != chain.form}
    return what_if_part(chain, *shown_first(chain, plain), beside)


def _timelines(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the names and pictures of the fastest split and of the slowest."""
    from runtime.report import charts

    chosen = [*comparison.came_through[:1], *comparison.came_through[1:][-1:]]
    longest_s = max((charts.timeline_s(part) for part in chosen), default=0.0)
    drawn = {part.name: charts.timelines(comparison, part, longest_s) for part in chosen}
    return [(name, svg) for name, svg in drawn.items() if svg]
