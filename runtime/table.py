"""Show a comparison, and a single run, as tables with prediction beside measurement."""

from typing import TYPE_CHECKING

from optimizer.partitions import OPTIMIZED
from runtime.types import Comparison, RunResult

if TYPE_CHECKING:
    from rich.console import Console


def show_comparison(comparison: Comparison, console: "Console") -> None:
    """Print the partitions, fastest first, and what the comparison says."""
    from rich import box
    from rich.table import Table

    shape = "×".join(map(str, comparison.input_shape))
    table = Table(
        title=f"{comparison.model}, input {shape}, {comparison.num_stages} stages, "
        f"{comparison.repeats} runs of {comparison.minibatches} minibatches each",
        caption="Samples per second in the steady state: median of the runs and its 95% interval. Busy: processor time "
        "per minibatch of each stage, predicted → measured.",
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
            f"[bold]{measured.median:.1f}[/bold]",
            f"{measured.low:.1f} – {measured.high:.1f}",
            f"{measured.median / part.predicted_throughput_samples_per_s:.2f}",
            f"{part.makespan_s.median:.2f}",
            "  ".join(f"{_ms(stage.predicted_s)}→{_ms(stage.busy_s)}" for stage in part.stages),
        )
    console.print(table)
    for line in verdict(comparison):
        console.print(line)


def verdict(comparison: Comparison) -> list[str]:
    """Return what the comparison says, in sentences; where stages shared cores, only the prediction speaks of speed."""
    measured = {part.name: part.throughput_samples_per_s.median for part in comparison.partitions}
    predicted = {part.name: part.predicted_throughput_samples_per_s for part in comparison.partitions}
    if not comparison.comparable:
        shared = sharing(comparison.num_stages, len(set(comparison.cores)))
        return [*_faster(comparison.model, "is predicted to run", predicted), shared]
    return _faster(comparison.model, "ran", measured)


def _faster(model: str, verb: str, throughput: dict[str, float]) -> list[str]:
    schemes = {name: value for name, value in throughput.items() if name != OPTIMIZED}
    if OPTIMIZED not in throughput or not schemes:
        return []
    ours, best, worst = (
        throughput[OPTIMIZED],
        max(schemes, key=schemes.__getitem__),
        min(schemes, key=schemes.__getitem__),
    )
    sentence = (
        f"{model}: optimized {verb} {ours / schemes[best]:.2f} times as fast as {best}, the fastest scheme, and "
        f"{ours / schemes[worst]:.2f} times as fast as {worst}, the slowest."
    )
    return [sentence]


def sharing(stages: int, cores: int) -> str:
    """Say that stages share cores and what that means."""
    shared = "1 core" if cores == 1 else f"{cores} cores"
    return (
        f"NOT COMPARABLE: {stages} stages shared {shared}, so timings between splits mean little and "
        f"predictions, which give every stage a core, are out of reach; use --stages {cores} or {stages} cores."
    )


def show_run(result: RunResult, console: "Console") -> None:
    """Print one run stage by stage."""
    from rich import box
    from rich.table import Table

    plan = result.plan
    table = Table(title=f"{plan.model}, {plan.method}, {result.minibatches} minibatches", box=box.SIMPLE)
    table.add_column("stage", justify="right")
    table.add_column("layers", overflow="fold")
    for name in ("core", "predicted ms", "busy ms", "waits ms", "sends ms", "predicted MiB", "peak MiB"):
        table.add_column(name, justify="right")
    for index, (stage, planned) in enumerate(zip(result.stages, plan.stages, strict=True)):
        peak = "–" if stage.peak_rss_bytes is None else f"{stage.peak_rss_bytes / 2**20:.0f}"
        table.add_row(
            str(index), f"{planned.layers[0]} … {planned.layers[-1]}", str(stage.core),
            _ms(planned.total_s), _ms(stage.busy_s), _ms(stage.wait_s), _ms(stage.send_s),
            f"{planned.memory_bytes / 2**20:.0f}", peak,
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{result.throughput_samples_per_s:.1f} samples/s in the steady state, predicted "
        f"{plan.predicted.throughput_samples_per_s:.1f}; {result.makespan_s:.2f} s in all; "
        f"loss {result.losses[0]:.4f} at first, {result.losses[-1]:.4f} at last."
    )
    if not result.comparable:
        console.print(sharing(len(result.stages), len({stage.core for stage in result.stages})))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
