"""Show a comparison, and a single run, as tables with prediction beside measurement."""

from typing import TYPE_CHECKING

from optimizer.schedule import SEMANTICS
from optimizer.simulate import has_steady_state
from optimizer.types import Plan
from profiler.command import counted
from runtime.bubbles import bubbles_of
from runtime.types import Comparison, RunResult, Spread, Verification
from runtime.verdict import sharing, verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def show_comparison(comparison: Comparison, console: "Console") -> None:
    """Print the partitions, fastest first, and what the comparison says."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shape = "×".join(map(str, comparison.input_shape))
    table = Table(
        title=f"{comparison.model}, input {shape}, "
        f"{counted(comparison.num_stages, 'stage')}, {counted(comparison.repeats, 'run')} of "
        f"{counted(comparison.minibatches, 'minibatch')} each, "
        f"{_schedule(comparison.partitions[0].plan)}, {comparison.channel}",
        caption="Samples per second in the steady state: predicted from the profile, and the median of the runs with "
        "its 95% interval. Makespan: one run from first to last action. Busy: processor time per minibatch of each "
        "stage, predicted → measured.",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("partition")
    table.add_column("cuts after", overflow="fold")
    for name in ("predicted", "measured", "interval", "÷ predicted", "makespan s", "busy ms, stage by stage"):
        table.add_column(name, justify="right")
    for part in sorted(comparison.partitions, key=lambda part: -part.throughput_samples_per_s.median):
        measured = part.throughput_samples_per_s
        table.add_row(
            part.name if part.same_as is None else f"{part.name} (= {part.same_as})",
            ", ".join(part.cuts),
            f"{part.predicted_throughput_samples_per_s:.1f}",
            Text(f"{measured.median:.1f}", style="bold"),
            _interval(measured),
            f"{measured.median / part.predicted_throughput_samples_per_s:.2f}",
            f"{part.makespan_s.median:.2f}",
            "  ".join(f"{_ms(stage.predicted_s)}→{_ms(stage.busy_s)}" for stage in part.stages),
        )
    console.print(table)
    for line in verdict(comparison):
        console.print(line)


def show_run(result: RunResult, console: "Console") -> None:
    """Print one run stage by stage."""
    from rich import box
    from rich.table import Table

    plan = result.plan
    table = Table(
        title=f"{plan.model}, {plan.method}, {counted(result.minibatches, 'minibatch')}, {_schedule(plan)} "
        f"({SEMANTICS[plan.schedule]}), {result.channel}, {result.rule.kind}, lr {result.rule.lr:g}",
        caption="Per minibatch. Busy: processor time; waits: for neighbours; sends: copies into the channel, part of "
        "busy; faults: page faults, the median. Peak: resident memory above the empty process.",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("stage", justify="right")
    table.add_column("layers", overflow="fold")
    for name in ("core", "predicted ms", "busy ms", "waits ms", "sends ms", "faults", "predicted MiB", "peak MiB"):
        table.add_column(name, justify="right")
    for index, (stage, planned) in enumerate(zip(result.stages, plan.stages, strict=True)):
        peak = "–" if stage.peak_rss_bytes is None else f"{stage.peak_rss_bytes / 2**20:.0f}"
        table.add_row(
            str(index), f"{planned.layers[0]} … {planned.layers[-1]}", str(stage.core),
            _ms(plan.minibatch_s(planned)), _ms(stage.busy_s), _ms(stage.wait_s), _ms(stage.send_s),
            f"{stage.page_faults:.0f}", f"{planned.memory_bytes / 2**20:.0f}", peak,
        )  # fmt: skip
    console.print(table)
    console.print(_bubble_table(result))
    steadily = has_steady_state(len(plan.stages), result.minibatches, plan.flush_every)
    steady = "in the steady state" if steadily else "over the whole run"
    console.print(
        f"{result.throughput_samples_per_s:.1f} samples/s {steady}, predicted "
        f"{plan.predicted.throughput_samples_per_s:.1f}; {result.makespan_s:.2f} s in all; "
        f"loss {_loss(result.losses[0])} at first, {_loss(result.losses[-1])} at last."
    )
    if not result.comparable:
        console.print(sharing(len(result.stages), len({stage.core for stage in result.stages})))


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
    for number, one in enumerate(bubbles_of(result)):
        parts = (one.busy_s, one.warm_up_s, one.starved_s, one.blocked_s, one.drain_s, one.imbalance_s)
        table.add_row(str(number), *(f"{part / one.total_s:.1%}" if one.total_s else "–" for part in parts))
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


def _interval(spread: Spread) -> str:
    return f"{spread.low:.1f} – {spread.high:.1f}" if len(spread.runs) > 1 else "one run"


def _loss(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
