"""Show a plan stage by stage, and beside the plans of the schemes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optimizer.types import Plan
from profiler.types import Profile

if TYPE_CHECKING:
    from rich.console import Console


def show_plan(plan: Plan, profile: Profile, console: "Console") -> None:
    """Print the stages of a plan: shares of layers, of FLOPs and of time side by side, memory and bytes sent."""
    from rich import box
    from rich.table import Table

    proof = (
        "proven optimal" if plan.optimal else f"at most {plan.bottleneck_s / plan.lower_bound_s - 1:.0%} off the best"
    )
    table = Table(title=f"{plan.model}, {plan.method}, {plan.num_stages} stages: {proof}", box=box.SIMPLE)
    table.add_column("stage", justify="right")
    table.add_column("layers", overflow="fold")
    for name in (
        "of layers",
        "of FLOPs",
        "of time",
        "compute ms",
        "update ms",
        "send ms",
        "total ms",
        "memory",
        "sent",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    flops = sum(stage.flops for stage in plan.stages) or 1
    total_s = sum(stage.total_s for stage in plan.stages) or 1.0
    for index, stage in enumerate(plan.stages):
        slowest = stage.total_s == max(other.total_s for other in plan.stages)
        table.add_row(
            str(index), f"{stage.layers[0]} … {stage.layers[-1]}",
            f"{len(stage.layers) / len(profile.layers):.0%}", f"{stage.flops / flops:.0%}",
            f"{stage.total_s / total_s:.0%}", _ms(stage.compute_s), _ms(stage.update_s), _ms(stage.send_s),
            f"[bold]{_ms(stage.total_s)}[/bold]" if slowest else _ms(stage.total_s),
            _mib(stage.memory_bytes), _mib(stage.send_bytes),
        )  # fmt: skip
    console.print(table)


def show_partitions(plans: Mapping[str, Plan], console: "Console") -> None:
    """Print what each partition is predicted to give, best first."""
    from rich import box
    from rich.table import Table

    best = min(plan.bottleneck_s for plan in plans.values())
    minibatches = next(iter(plans.values())).predicted.minibatches
    table = Table(title="Predicted: a stage on each of as many cores", box=box.SIMPLE)
    table.add_column("partition")
    table.add_column("cuts after", overflow="fold")
    for name in ("slowest stage ms", "÷ best", "imbalance", "samples/s", f"makespan of {minibatches} s", "sent"):
        table.add_column(name, justify="right")
    for name, plan in sorted(plans.items(), key=lambda item: item[1].bottleneck_s):
        table.add_row(
            name, ", ".join(plan.cuts),
            _ms(plan.bottleneck_s), f"{plan.bottleneck_s / best:.2f}", f"{plan.imbalance:.2f}",
            f"{plan.predicted.throughput_samples_per_s:.1f}", f"{plan.predicted.makespan_s:.2f}",
            _mib(sum(stage.send_bytes for stage in plan.stages)),
        )  # fmt: skip
    console.print(table)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
