"""Show a comparison, and a single run, as tables with prediction beside measurement."""

from typing import TYPE_CHECKING

from optimizer.plan import Plan
from optimizer.schedule import ROUND_ROBIN, SEMANTICS, has_steady_state
from profiler.cli import counted
from runtime.compare import Comparison, PartitionComparison, Spread
from runtime.report.findings import verdict
from runtime.report.warnings import sharing
from runtime.results import RunResult, Verification
from runtime.timeline import bubbles_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def show_comparison(comparison: Comparison, console: "Console") -> None:
    """Print the partitions, fastest first, the baselines, and what the comparison says."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shape = "×".join(map(str, comparison.input_shape))
    table = Table(
        title=f"{comparison.model}, input {shape}, "
        f"{counted(comparison.num_stages, 'stage')}, {counted(comparison.rounds, 'round')} of "
        f"{counted(comparison.minibatches, 'minibatch')}, "
        f"{_schedule(comparison.partitions[0].plan)}, {comparison.channel}",
        caption="Samples per second in the steady state: predicted from the profile, and the median of the rounds with "
        f"its 95% bootstrap interval. × as fast: how many times as fast {comparison.reference} ran, round by round. = "
        "marks ranks that noise cannot tell apart. Makespan: one run from first to last action. Busy: processor time "
        "per minibatch of each stage, predicted → measured.",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("rank", justify="right")
    table.add_column("partition")
    table.add_column("cuts after", overflow="fold")
    for name in ("predicted", "measured", "interval", "× as fast", "makespan s", "busy ms, stage by stage"):
        table.add_column(name, justify="right")
    for part in by_speed(comparison):
        measured = part.throughput_samples_per_s
        table.add_row(
            rank_of(part, comparison),
            part.name if part.same_as is None else f"{part.name} (= {part.same_as})",
            ", ".join(part.cuts),
            f"{part.predicted_throughput_samples_per_s:.1f}",
            Text(f"{measured.median:.1f}" if measured else "failed", style="bold"),
            interval_of(measured),
            ratio_of(part.ratio),
            f"{part.makespan_s.median:.2f}" if part.makespan_s else "",
            "  ".join(f"{_ms(stage.predicted_s)}→{_ms(stage.busy_s)}" for stage in part.stages),
        )
    if comparison.baselines:
        table.add_section()
    for one in comparison.baselines:
        spread = one.throughput_samples_per_s
        speed = f"{spread.median:.1f}" if spread else "failed"
        table.add_row("", one.row, one.semantics, "", speed, interval_of(spread), ratio_of(one.ratio), "", "")
    console.print(table)
    if comparison.distinct_splits and comparison.audit.splits:
        console.print(_audit_table(comparison))
    for line in verdict(comparison):
        console.print(line)


def by_speed(comparison: Comparison) -> list[PartitionComparison]:
    """Return the partitions, fastest first; those that did not come through last."""
    return sorted(
        comparison.partitions,
        key=lambda part: -part.throughput_samples_per_s.median if part.throughput_samples_per_s else 1.0,
    )


def rank_of(part: PartitionComparison, comparison: Comparison) -> str:
    """Return a partition's rank as ``2`` or, where others share it, ``2=``."""
    if part.rank is None:
        return "–"
    sharing_it = {one.same_as or one.name for one in comparison.partitions if one.rank == part.rank}
    return f"{part.rank}=" if len(sharing_it) > 1 else str(part.rank)


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


def show_run(result: RunResult, console: "Console") -> None:
    """Print one run stage by stage."""
    from rich import box
    from rich.table import Table

    plan = result.plan
    semantics = SEMANTICS[plan.schedule] if plan.crew.straight else ROUND_ROBIN
    table = Table(
        title=f"{plan.model}, {plan.method}, {counted(result.minibatches, 'minibatch')}, {_schedule(plan)} "
        f"({semantics}), {result.channel}, {result.rule.kind}, lr {result.rule.lr:g}",
        caption="Per minibatch. Busy: processor time; waits: for neighbours; sends: copies into the channel, part of "
        "busy; faults: page faults, the median. Peak: resident memory above the empty process.",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("stage", justify="right")
    table.add_column("layers", overflow="fold")
    for name in ("core", "predicted ms", "busy ms", "waits ms", "sends ms", "faults", "predicted MiB", "peak MiB"):
        table.add_column(name, justify="right")
    several = len({stage.host for stage in result.stages}) > 1
    for stage in result.stages:
        planned = result.planned(stage)
        peak = "–" if stage.peak_rss_bytes is None else f"{stage.peak_rss_bytes / 2**20:.0f}"
        table.add_row(
            result.name_of(stage), f"{planned.layers[0]} … {planned.layers[-1]}",
            f"{stage.host}: {stage.core}" if several else str(stage.core),
            _ms(plan.minibatch_s(planned)), _ms(stage.busy_s), _ms(stage.wait_s), _ms(stage.send_s),
            f"{stage.page_faults:.0f}", f"{planned.memory_bytes / 2**20:.0f}", peak,
        )  # fmt: skip
    console.print(table)
    console.print(_bubble_table(result))
    steadily = has_steady_state(len(result.stages), result.minibatches, plan.flush_every)
    steady = "in the steady state" if steadily else "over the whole run"
    console.print(
        f"{result.throughput_samples_per_s:.1f} samples/s {steady}, predicted "
        f"{plan.predicted.throughput_samples_per_s:.1f}; {result.makespan_s:.2f} s in all; "
        f"loss {_loss(result.losses[0])} at first, {_loss(result.losses[-1])} at last."
    )
    if not result.comparable:
        console.print(sharing(len(result.stages), len({(stage.host, stage.core) for stage in result.stages})))


def show_verification(verification: Verification, console: "Console") -> None:
    """Print one line for each partition: identical, or where it parts from its replay."""
    flush = f", an update every {verification.flush_every}" if verification.flush_every else ""
    console.print(
        f"{verification.model}, {counted(verification.num_stages, 'stage')}, {verification.schedule}{flush}, "
        f"{verification.channel}: {counted(verification.minibatches, 'minibatch')} in the pipeline and in one process"
    )
    width = max(len(part.name) for part in verification.partitions)
    for part in verification.partitions:
        found = "bit-identical: losses, gradients, weights, buffers"
        if part.first_difference:
            found = f"DIFFERS: {part.first_difference}"
        console.print(f"{part.name:{width}}  {found}  weights {part.digests.weights[:12]}", soft_wrap=True)


def _schedule(plan: Plan) -> str:
    flush = f" every {plan.flush_every}" if plan.flush_every and plan.flush_every > 1 else ""
    return f"{plan.schedule}{flush}"


def _bubble_table(result: RunResult) -> "Table":
    """Return where the time of each stage went, in per cent of the makespan."""
    from rich import box
    from rich.table import Table

    table = Table(
        title="where the time went, % of the makespan",
        caption="Starved: waiting for activations; blocked: for gradients; of the two, imbalance: what the busiest "
        "stage has more to do.",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("stage", justify="right")
    for name in ("busy", "warm-up", "starved", "blocked", "drain", "imbalance"):
        table.add_column(name, justify="right")
    for run, one in zip(result.stages, bubbles_of(result), strict=True):
        parts = (one.busy_s, one.warm_up_s, one.starved_s, one.blocked_s, one.drain_s, one.imbalance_s)
        table.add_row(result.name_of(run), *(f"{part / one.total_s:.1%}" if one.total_s else "–" for part in parts))
    return table


def _audit_table(comparison: Comparison) -> "Table":
    """Return how far off each prediction was, and what that is made of, in per cent of the predicted period."""
    from rich import box
    from rich.table import Table

    table = Table(
        title="the audit: period of a minibatch, measured − predicted, % of the predicted",
        caption="Of the stage that is busiest: its work alone, its work beside the others, its copies, its waits. "
        "Error of the throughput: above 0, too much was promised.",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("split")
    for name in ("error", "predicted ms", "measured ms", "stage", "compute", "contention", "transfer", "schedule"):
        table.add_column(name, justify="right")
    for one in comparison.audit.splits:
        parts = (one.compute_s, one.contention_s, one.transfer_s, one.schedule_s)
        shares = ("–" if part is None else f"{part / one.predicted_s:+.1%}" for part in parts)
        table.add_row(
            one.partition, f"{one.error:+.1%}", _ms(one.predicted_s), _ms(one.measured_s), str(one.stage), *shares
        )
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


def _loss(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
