"""Render comparisons as one page, HTML that needs nothing else, or Markdown; from the files alone, again and again."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.what_if import script, shown_first, style, what_if_part
from profiler.files import write_whole
from profiler.profile import PLAIN_FORM
from profiler.report import counted, mib, ms
from runtime.compare import ONE_CORE, Comparison
from runtime.report import comparison_table as table
from runtime.report.batch_sizes import change, winner
from runtime.report.findings import (
    answer,
    called,
    clock,
    fairness,
    held,
    in_order,
    insight,
    largest_layer,
    length_of_run,
    memory,
    race,
    rivals,
    title,
    worth,
)
from runtime.report.study_table import beside_the_study
from runtime.report.warnings import FIRM, doubts, firmness, left_to_say, mark

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
KINDS = (".html", ".md")
_MOST_DETAILED = 4
"""So many comparisons have all their pictures in one page; of more, each has those that differ most."""


def write_reports(comparisons: Sequence[Comparison], paths: Sequence[Path]) -> None:
    """Write a report on the comparisons to each path, in the form that its suffix names."""
    for path, content in [(path, rendered(comparisons, path.suffix)) for path in paths]:
        write_whole(path, content.encode())


def rendered(comparisons: Sequence[Comparison], suffix: str) -> str:
    """Return the page; the same comparisons give the same text."""
    ordered = sorted(
        comparisons, key=lambda comparison: (_group(comparison), comparison.request.batch_size, comparison.began_at)
    )
    template = _environment().get_template(f"report{suffix}")
    context = _facts(ordered)
    if suffix == ".html":
        context |= _pictures(ordered)
    return template.render(context)


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
    made.filters |= {
        "ms": ms,
        "mib": mib,
        "percent": lambda share: "–" if share is None else f"{share:+.1%}",
        "two": lambda value: "–" if value is None else f"{value:.2f}",
        "counted": counted,
        "interval": table.interval_of,
        "ratio": table.ratio_of,
        "speed": table.speed_of,
        "least": table.least_of,
        "fairness": fairness,
        "held": held,
        "length_of_run": length_of_run,
        "makespan": table.makespan_of,
        "mark": mark,
    }
    return made


def _facts(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    return {
        "title": ", ".join(dict.fromkeys(comparison.request.model for comparison in comparisons)),
        "version": version("stageplan"),
        "several": len(comparisons) > 1,
        "ranks": table.RANKS,
        "kept": table.KEPT,
        "comparisons": [_about(comparison, f"comparison-{number}") for number, comparison in enumerate(comparisons, 1)],
        "models": [_model(group) for group in _groups(comparisons)],
        "names": list(dict.fromkeys(part.name for own in comparisons for part in rivals(own))),
        "machines": list(dict.fromkeys(comparison.machine for comparison in comparisons)),
        "commands": list(dict.fromkeys(comparison.command for comparison in comparisons)),
    }


def _group(comparison: Comparison) -> tuple[object, ...]:
    """Return what comparisons at several batch sizes have in common."""
    return (
        comparison.request.model,
        comparison.request.num_stages,
        comparison.request.input_shape[1:],
        comparison.request.minibatches,
        comparison.request.cores,
        comparison.clock,
    )


def _groups(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    return [list(group) for _, group in groupby(comparisons, _group)]


def _about(comparison: Comparison, anchor: str) -> dict[str, Any]:
    firm = firmness(comparison)
    return {
        "data": comparison,
        "title": title(comparison),
        "anchor": anchor,
        "firmness": firm,
        "lines": [
            line
            for line in (
                answer(comparison),
                worth(comparison),
                insight(comparison),
                largest_layer(comparison),
                comparison.summary.audit.verdict,
                comparison.summary.audit.cause,
                memory(comparison),
                comparison.forms,
                race(comparison),
                clock(comparison),
            )
            if line
        ],
        "warnings": [f"{doubt.name}: {doubt.sentence}" for doubt in left_to_say(comparison)],
        "doubts": [name.lower() for name in doubts(comparison)],
        "winner": winner(comparison),
        "beside_ours": _beside_ours(comparison),
        "firm": firm == FIRM,
        "partitions": [
            {"part": part, "name": called(comparison, part), "rank": table.rank_of(part, comparison)}
            for part in comparison.summary.standing
        ],
        "beside": beside_the_study(comparison),
        "failed": [run for run in comparison.runs if run.failure is not None],
    }


def _beside_ours(comparison: Comparison) -> dict[str, float]:
    """Return how fast each partition, and one core, ran beside the reference, which is 1."""
    ratios = {part.name: part.ratio for part in comparison.summary.partitions} | {
        ONE_CORE: comparison.summary.one_core.ratio
    }
    return {name: 1 / ratio.median for name, ratio in ratios.items() if ratio}


def _model(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return what a model's comparisons at several batch sizes show together."""
    winners = [winner(comparison) for comparison in comparisons]
    return {
        "name": f"{comparisons[0].request.model}, {counted(comparisons[0].request.num_stages, 'stage')}",
        "winners": list(zip(comparisons, winners, strict=True)),
        "change": change(winners) if len(winners) > 1 else "",
    }


def _pictures(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    from runtime.report import charts, charts_across

    detailed = len(comparisons) <= _MOST_DETAILED
    own: list[Mapping[str, Any]] = [
        {
            "speeds": charts.speeds(comparison),
            "stages": charts.stages(comparison),
            "layers": charts.layers(comparison) if detailed else "",
            "what_if": _what_if(comparison) if detailed else "",
            "timelines": _timelines(comparison) if detailed else [],
        }
        for comparison in comparisons
    ]
    groups = _groups(comparisons)
    moving = any(each["what_if"] for each in own)
    return {
        "pictures": own,
        "style": style() if moving else "",
        "script": script() if moving else "",
        "promise": charts_across.promise(comparisons),
        "by_batch_size": [charts_across.by_batch_size(group) if len(group) > 1 else "" for group in groups],
        "layers_of": [
            []
            if detailed
            else [svg for comparison in dict.fromkeys((group[0], group[-1])) if (svg := charts.layers(comparison))]
            for group in groups
        ],
        "timelines_of": [[] if detailed else _timelines(group[-1]) for group in groups],
    }


def _what_if(comparison: Comparison) -> str:
    """Return the picture in which cuts can be moved; nothing where its costs are not kept."""
    from runtime.report import charts

    chain = comparison.chain
    if chain is None or not chain.pipelines:
        return ""
    plans = [comparison.ours.plan, *(part.plan for part in comparison.partitions)]
    plain = next((plan for plan in plans if plan.form == PLAIN_FORM), plans[0])
    return what_if_part(chain, *shown_first(chain, plain), f"<figure>{charts.layers(comparison)}</figure>")


def _timelines(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the names and pictures of the chosen splits: the reference, the fastest of the others and the slowest."""
    from runtime.report import charts

    ours = comparison.summary.ours
    others = [part for part in in_order(comparison, rivals(comparison)) if part.ratio and part.ran_as != ours.ran_as]
    named = dict.fromkeys(comparison.summary.part(part.ran_as) for part in (ours, *others[:1], *others[-1:]))
    chosen = [part for part in named if part is not None]
    longest_s = max(charts.timeline_s(comparison, part) for part in chosen)
    drawn = {part.name: charts.timelines(comparison, part, longest_s) for part in chosen}
    return [(name, svg) for name, svg in drawn.items() if svg]
