"""The tables of comparisons: the terminal, the page and Markdown print the same ones."""

from collections.abc import Sequence

from profiler.profile import FP32
from profiler.report import ResultTable, mib, ms
from runtime.compare import ONE_CORE, Comparison, Contender, Estimate
from runtime.report.findings import called, samples_per_s
from runtime.report.warnings import FIRM, firmness, mark, too_loud

RANKS = (
    "Rank: by samples/s; = marks what cannot be told from the fastest. Out: of the race, with too few runs for a range."
)


def splits_table(comparison: Comparison, most: int | None = None) -> ResultTable:
    """Return a row for each split, fastest first, and below them what one would run instead.

    Args:
        comparison: What is known.
        most: How many splits at most, and the columns that a terminal has room for; None: all.
    """
    columns = ("rank", "split", "samples/s", "1st ÷ this", "predicted")
    more = ("rounds", "makespan s", "cuts after") if most is None else ()
    table = ResultTable("", (*columns, *more), words=("split", "cuts after"), compact=True)
    for part in comparison.standing[:most]:
        behind = comparison.behind(part.name)
        table.add_row(
            rank_of(part, comparison),
            called(comparison, part),
            speed_of(comparison, part),
            f"{behind.median:.2f}, out" if behind and comparison.is_out(part.name) else _ranged(behind),
            f"{part.predicted_throughput_samples_per_s:.1f}",
            str(len(part.by_round)),
            _makespan(part, comparison),
            ", ".join(part.plan.cuts),
            style="bold" if part.name == comparison.ours.ran_as else "",
        )
    precision = comparison.whole_precision
    for own in comparison.unsplit:
        name = own.name if precision == FP32 else f"{own.name}, {precision}"
        speed, behind = speed_of(comparison, own), comparison.behind(own.name)
        table.add_row("", name, speed, _ranged(behind), "", str(len(own.by_round)))
    return table


def leaders_table(comparisons: Sequence[Comparison]) -> ResultTable:
    """Return which split of each comparison is the fastest, a row each."""
    table = ResultTable(
        "",
        ("", "fastest", "samples/s", "÷ next", "÷ core", "÷ plain", "firm"),
        words=("", "fastest"),
        caption="÷: times as fast as the next split, the plain step on one core, and plain PyTorch.",
    )  # fmt: skip
    several = len({comparison.request.batch_size for comparison in comparisons}) > 1
    for comparison in comparisons:
        ran = comparison.came_through
        others = (ran[1].name if len(ran) > 1 else "", ONE_CORE, comparison.plain.name if comparison.plain else "")
        table.add_row(
            comparison.request.model + (f", batch {comparison.request.batch_size}" if several else ""),
            _fastest(comparison),
            f"{samples_per_s(comparison, ran[0]):.1f}" if ran else "",
            *(_times(comparison.between(ran[0].name, other)) if ran and other else "" for other in others),
            f"{'yes' if firmness(comparison) == FIRM else 'no'}{mark(comparison)}",
        )
    return table


def _fastest(comparison: Comparison) -> str:
    """Return which split is the fastest, or why there is none."""
    if not comparison.came_through:
        return "none came through"
    return "too loud to tell" if too_loud(comparison) else called(comparison, comparison.came_through[0])


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
    """Return a split's rank as ``2``, or ``1=`` of all that cannot be told from the fastest."""
    rank = comparison.rank(part.name)
    if rank is None:
        return "–"
    return f"{rank}=" if rank == 1 and comparison.ranking.ties else str(rank)


def speed_of(comparison: Comparison, contender: Contender) -> str:
    """Return a contender's speed, or why there is none."""
    speed = comparison.speed(contender.name)
    return f"{speed.median:.1f}" if speed else "failed" if contender.failures else "not run"


def _ranged(ratio: Estimate | None) -> str:
    """Return a ratio with its 95% interval as ``1.31 (1.29 – 1.33)``; that of the fastest to itself has none."""
    if ratio is None:
        return ""
    return f"{ratio.median:.2f}" + (f" ({ratio.low:.2f} – {ratio.high:.2f})" if ratio.low < ratio.high else "")


def _times(ratio: Estimate | None) -> str:
    return f"{ratio.median:.2f}" if ratio else ""


def _makespan(part: Contender, comparison: Comparison) -> str:
    """Return the median makespan where all runs are of as many minibatches."""
    if not comparison.request.minibatches:
        return "–"
    return f"{part.makespan_s:.2f}" if part.makespan_s else ""
