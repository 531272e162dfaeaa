"""The tables of comparisons: the terminal, the page and Markdown print the same ones."""

from collections.abc import Sequence

from profiler.profile import FP32
from profiler.report import ResultTable, mib, ms
from runtime.compare import ONE_CORE, Comparison, Contender, Spread, coverage
from runtime.report.findings import called, samples_per_s, title
from runtime.report.warnings import COVERAGE_WANTED, FIRM, doubts, firmness, mark

RANKS = "Rank: by × as fast; = marks what noise cannot tell apart, – what noise or a single round leaves open."


def splits_table(comparison: Comparison, most: int | None = None) -> ResultTable:
    """Return a row for each split, fastest first, and below them what one would run instead.

    Args:
        comparison: What is known.
        most: How many splits at most, only the fastest of the baselines, and the columns that a terminal has room
            for; None: all.
    """
    splits = comparison.standing[:most]
    ratio = next((ratio for part in splits if (ratio := comparison.ratio(part.name))), None)
    runs = len(ratio.runs) if ratio else comparison.rounds
    spread = f"{min(COVERAGE_WANTED, coverage(runs)):.0%} range" if runs > 1 else "range"
    columns = ("rank", "split", f"samples/s{mark(comparison)}", spread, "predicted")
    more = (f"{comparison.reference} × as fast", "makespan s", "cuts after") if most is None else ()
    table = ResultTable("", (*columns, *more), words=("split", "cuts after"), compact=True)
    last, out = comparison.rounds, comparison.dropped
    for part in splits:
        dropped = out.get(part.name, last)
        table.add_row(
            rank_of(part, comparison),
            called(comparison, part),
            speed_of(part),
            interval_of(part.throughput_samples_per_s) if dropped >= last else f"dropped after {dropped}",
            f"{part.predicted_throughput_samples_per_s:.1f}",
            _times(comparison.ratio(part.name)),
            _makespan(part, comparison),
            ", ".join(part.plan.cuts),
            style="bold" if part.name == comparison.ours.ran_as else "",
        )
    precision = comparison.whole_precision
    beside = [(ONE_CORE if precision == FP32 else f"{ONE_CORE}, {precision}", comparison.one_core)]
    ran = {own.name: ratio.median for own in comparison.baselines if (ratio := comparison.ratio(own.name))}
    fastest = min(ran, key=ran.__getitem__, default="")
    beside += [(own.name, own) for own in comparison.baselines if most is None or own.name == fastest]
    for name, own in beside:
        interval = interval_of(own.throughput_samples_per_s)
        table.add_row("", name, speed_of(own), interval, "", _times(comparison.ratio(own.name)))
    return table


def leaders_table(comparisons: Sequence[Comparison], heading: str = "", *, page: bool = False) -> ResultTable:
    """Return which split of each comparison is the fastest, a row each; a ``page`` has room for more columns."""
    table = ResultTable(
        heading,
        ("", "fastest", "samples/s", "× the next", "× one core", "firm",
         *(("predicted", "predictions", "doubts") if page else ())),
        words=("", "fastest", "predictions", "doubts"),
    )  # fmt: skip
    for comparison in comparisons:
        ran, audit = comparison.came_through, comparison.audit
        others = (ran[1].name if len(ran) > 1 else None, ONE_CORE)
        ratios = [comparison.between(ran[0].name, other) if ran and other else None for other in others]
        error, order = audit.mean_absolute_error_settled, audit.spearman
        table.add_row(
            title(comparison),
            called(comparison, ran[0]) if ran else "none came through",
            f"{samples_per_s(ran[0]):.1f}{mark(comparison)}" if ran else "",
            *(f"{ratio.median:.2f}" if ratio else "" for ratio in ratios),
            "yes" if firmness(comparison) == FIRM else "no",
            f"{ran[0].predicted_throughput_samples_per_s:.1f}" if ran else "",
            ("–" if error is None else f"off by {error:.0%}") + ("" if order is None else f", order {order:.2f}"),
            ", ".join(name.lower() for name in doubts(comparison)),
        )
    return table


def stages_table(comparison: Comparison) -> ResultTable:
    """Return what every stage of every split that ran is busy with a minibatch, and what it takes of memory."""
    table = ResultTable(
        "",
        ("split", "stage", "layers", "predicted ms", "busy ms", "forward", "backward", "update", "send", "waits",
         "predicted MiB", "peak MiB"),
        words=("split",),
    )  # fmt: skip
    for part in comparison.standing:
        for number, (stage, planned) in enumerate(zip(part.stages, part.plan.stages, strict=False)):
            own = stage.measured
            table.add_row(
                part.name, str(number), str(len(planned.layers)), ms(stage.predicted_s), ms(stage.busy_s),
                ms(own.forward_s), ms(own.backward_s + own.weights_s), ms(own.update_s), ms(own.send_s),
                ms(own.wait_s), mib(stage.predicted_memory_bytes), mib(own.peak_rss_bytes),
            )  # fmt: skip
    return table


def rank_of(part: Contender, comparison: Comparison) -> str:
    """Return a partition's rank as ``2`` or, where others share it, ``2=``."""
    rank = comparison.rank(part.name)
    if rank is None:
        return "–"
    sharing_it = [other for other in comparison.standing if comparison.rank(other.name) == rank]
    return f"{rank}=" if len(sharing_it) > 1 else str(rank)


def speed_of(contender: Contender) -> str:
    """Return the median throughput, or why there is none."""
    spread = contender.throughput_samples_per_s
    return f"{spread.median:.1f}" if spread else "failed" if contender.failures else "not run"


def interval_of(spread: Spread | None) -> str:
    """Return an interval as ``9.4 – 9.9``."""
    if spread is None:
        return ""
    return f"{spread.low:.1f} – {spread.high:.1f}" if len(spread.runs) > 1 else "one run"


def _times(ratio: Spread | None) -> str:
    """Return a ratio as ``1.31 (1.29 – 1.33)``."""
    if ratio is None:
        return ""
    return f"{ratio.median:.2f}" + (f" ({ratio.low:.2f} – {ratio.high:.2f})" if len(ratio.runs) > 1 else "")


def _makespan(part: Contender, comparison: Comparison) -> str:
    """Return the median makespan where all runs are of as many minibatches."""
    if not comparison.request.minibatches:
        return "–"
    return f"{part.makespan_s.median:.2f}" if part.makespan_s else ""
