"""Show a comparison, and a single run, as tables with prediction beside measurement."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiler.profile import FP32
from profiler.report import ResultTable, counted, ms
from runtime.compare import ONE_CORE, BaselineComparison, Comparison, OneCoreComparison, PartitionComparison, Spread
from runtime.pipeline import LEAST
from runtime.report.findings import called, fairness, length_of_run, title, verdict
from runtime.report.warnings import mark

if TYPE_CHECKING:
    from rich.console import Console


KEPT = {True: "yes", False: "no", None: "–"}
RANKS = "Rank: by × as fast; = marks what noise cannot tell apart, – what noise or a single round leaves open."


def show_comparison(comparison: Comparison, console: "Console") -> None:
    """Print the partitions in order, the baselines, and what the comparison says."""
    from rich.text import Text

    table = _empty_table(comparison)
    for part in comparison.summary.standing:
        measured = part.throughput_samples_per_s
        table.add_row(
            rank_of(part, comparison),
            called(comparison, part),
            ", ".join(part.cuts),
            f"{part.predicted_throughput_samples_per_s:.1f}",
            Text(speed_of(part) + least_of(part, comparison), style="bold"),
            interval_of(measured),
            ratio_of(part.ratio),
            makespan_of(part, comparison),
            "  ".join(f"{ms(stage.predicted_s)}→{ms(stage.busy_s)}" for stage in part.stages),
        )
    table.add_section()
    one_core, precision = comparison.summary.one_core, comparison.one_core.precision
    plain = "the plain step" if precision == FP32 else f"the plain step, {precision}"
    table.add_row(
        "", ONE_CORE, plain, "", speed_of(one_core), interval_of(one_core.throughput_samples_per_s),
        ratio_of(one_core.ratio), "", "",
    )  # fmt: skip
    for own in comparison.summary.baselines:
        interval, baseline = interval_of(own.throughput_samples_per_s), own.baseline
        table.add_row("", baseline.row, baseline.semantics, "", speed_of(own), interval, ratio_of(own.ratio), "", "")
    console.print(table)
    if comparison.request.distinct_splits and comparison.summary.audit.splits:
        console.print(_audit_table(comparison))
    for line in verdict(comparison):
        console.print(line)


def show_leaders(comparisons: Sequence[Comparison]) -> None:
    """Print on stderr which split of each comparison is the fastest so far; more rounds are to come."""
    from rich.console import Console

    table = ResultTable(
        "provisional, after a first round of each; the report stands, and gets better with every round",
        ("", "fastest so far", "samples/s", "predicted", "× the next", "× one core"),
        words=("", "fastest so far"),
    )
    for comparison in comparisons:
        ran = [part for part in comparison.summary.standing if part.throughput_samples_per_s]
        speeds = [part.throughput_samples_per_s.median for part in ran if part.throughput_samples_per_s]
        alone = comparison.summary.one_core.throughput_samples_per_s
        table.add_row(
            title(comparison) + mark(comparison),
            called(comparison, ran[0]) if ran else "none came through",
            f"{speeds[0]:.1f}" if ran else "",
            f"{ran[0].predicted_throughput_samples_per_s:.1f}" if ran else "",
            f"{speeds[0] / speeds[1]:.2f}" if len(ran) > 1 else "",
            f"{speeds[0] / alone.median:.2f}" if ran and alone else "",
        )
    Console(stderr=True, highlight=False, markup=False).print(table)


def _empty_table(comparison: Comparison) -> ResultTable:
    """Return the table without its rows."""
    least = any(least_of(part, comparison) for part in comparison.summary.partitions)
    shape = "×".join(map(str, comparison.request.input_shape))
    ratio = f"{comparison.reference} × as fast"
    figures = ("predicted", "measured", "interval", ratio, "makespan s", "busy ms, stage by stage")
    return ResultTable(
        f"{comparison.request.model}, input {shape}, "
        f"{counted(comparison.request.num_stages, 'stage')}, {counted(comparison.rounds, 'round')} of "
        f"{length_of_run(comparison)}, "
        f"{comparison.partitions[0].plan.pace.words}, {comparison.request.channel}, {comparison.clock} clock"
        f"{mark(comparison)}",
        ("rank", "partition", "cuts after", *figures),
        words=("partition", "cuts after"),
        first_out=("busy ms, stage by stage", "makespan s", "cuts after", "interval"),
        explained={
            "rank": RANKS,
            "predicted": "Samples per second in the steady state: predicted from the profile, and",
            "measured": "the median of the rounds." + (f" In brackets: {LEAST}." if least else ""),
            "interval": "Interval: 95%, bootstrapped.",
            ratio: f"× as fast: how many times as fast {comparison.reference} ran, round by round."
            + fairness(comparison),
            "makespan s": "Makespan: one run from first to last action; – where runs differ in minibatches.",
            "busy ms, stage by stage": "Busy: processor time per minibatch of each stage, predicted → measured.",
        },
    )


def rank_of(part: PartitionComparison, comparison: Comparison) -> str:
    """Return a partition's rank as ``2`` or, where others share it, ``2=``."""
    if part.rank is None:
        return "–"
    sharing_it = [other for other in comparison.summary.standing if other.rank == part.rank]
    return f"{part.rank}=" if len(sharing_it) > 1 else str(part.rank)


def makespan_of(part: PartitionComparison, comparison: Comparison) -> str:
    """Return the median makespan where all runs are of as many minibatches."""
    if not comparison.request.minibatches:
        return "–"
    return f"{part.makespan_s.median:.2f}" if part.makespan_s else ""


def least_of(part: PartitionComparison, comparison: Comparison) -> str:
    """Return in brackets what is left at worst with a core for every stage, where they took turns on fewer."""
    crowded = part.plan.crowded(comparison.core_count) if comparison.clock == "virtual" else None
    speed = part.throughput_samples_per_s
    return f" ({speed.median / crowded:.1f})" if crowded and speed else ""


def speed_of(contender: PartitionComparison | BaselineComparison | OneCoreComparison) -> str:
    """Return the median throughput, or why there is none."""
    spread = contender.throughput_samples_per_s
    return f"{spread.median:.1f}" if spread else "failed" if contender.failures else "not run"


def interval_of(spread: Spread | None) -> str:
    """Return an interval as ``9.4 – 9.9``."""
    if spread is None:
        return ""
    return f"{spread.low:.1f} – {spread.high:.1f}" if len(spread.runs) > 1 else "one run"


def ratio_of(ratio: Spread | None) -> str:
    """Return a ratio as ``1.31 (1.29 – 1.33)``."""
    if ratio is None:
        return ""
    return f"{ratio.median:.2f}" + (f" ({ratio.low:.2f} – {ratio.high:.2f})" if len(ratio.runs) > 1 else "")


def _audit_table(comparison: Comparison) -> ResultTable:
    """Return how far off each prediction was, and what that is made of, in per cent of the predicted period."""
    parts = ("scale", "shape", "schedule")
    table = ResultTable(
        "the audit: period of a minibatch, measured − predicted, % of the predicted",
        ("split", "error", "as it was", "kept", "predicted ms", "measured ms", "stage", *parts),
        words=("split",),
        first_out=("stage", "predicted ms", "measured ms", "as it was"),
        caption="Error of the throughput, above 0 where too much was promised: with the machine's pace taken out, and "
        "as it was. Kept: within the promised interval. Scale: the machine's pace since the profile, which is no "
        "error. Of the stage that took longest: its share, its waits.",
    )
    for split in comparison.summary.audit.splits:
        errors_s = (split.scale_s, split.shape_s, split.schedule_s)
        table.add_row(
            split.partition,
            f"{split.settled_error:+.1%}",
            f"{split.error:+.1%}",
            KEPT[split.kept],
            ms(split.predicted_s),
            ms(split.measured_s),
            str(split.stage),
            *(f"{part_s / split.predicted_s:+.1%}" for part_s in errors_s),
        )
    return table
