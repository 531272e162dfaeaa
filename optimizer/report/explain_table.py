"""Print the explanation of a plan."""

from typing import TYPE_CHECKING

from optimizer.explain import Explanation
from optimizer.plan import Plan
from profiler.profile import INPUT
from profiler.report import ResultTable, mib

if TYPE_CHECKING:
    from rich.console import Console

WORDS = ("cut", "moved", "layers that change stage", "method", "reason")


def show_explanation(plan: Plan, explanation: Explanation, console: "Console") -> None:
    """Print the explanation below the plan."""
    console.print(
        "\n".join(["Why this plan:", *(f"- {sentence}" for sentence in paragraphs(plan, explanation))]),
        end="\n\n",
    )
    _show_boundaries(plan, console)
    _show_moves(explanation, console)
    _show_losses(
        "What other methods lose, and why" + (", which keep to no limit" if plan.limits else ""), explanation, console
    )


def paragraphs(plan: Plan, explanation: Explanation) -> list[str]:
    """Return what can be said in sentences."""
    stage = plan.stages[explanation.bottleneck_stage]
    filled = ", ".join(
        f"{filler.layer} {filler.step_s * 1e3:.1f} ms ({filler.share:.0%})" for filler in explanation.fillers
    )
    listed = " with ".join(explanation.ceiling_layers[:2])
    reason = explanation.ceiling_reason
    whole = f"cannot be cut: {reason}" if reason else "is whole, and --slice could cut it inside"
    often = " that updates after each minibatch" if plan.update_every > 1 else ""
    return [
        f"Stage {explanation.bottleneck_stage} is the slowest: {stage.total_s * 1e3:.1f} ms a minibatch, {filled}.",
        (
            f"The plan is {explanation.speed_up:.2f} times as fast as one core{often}. No split, into however many "
            f"stages, is more than {explanation.ceiling:.2f} times as fast, for {listed} {whole}."
        ),
        _proof(plan),
    ]


def _proof(plan: Plan) -> str:
    bound = f"no split{plan.limits} is below {plan.lower_bound_s * 1e3:.3f} ms"
    if plan.optimal:
        return f"{plan.searched}: {bound}, the plan's own bottleneck."
    return f"{plan.searched}, and {bound}: a better one is at most {plan.gap:.1%} faster."


def _show_boundaries(plan: Plan, console: "Console") -> None:
    table = ResultTable(
        "What crosses each cut",
        ("cut", "tensors", "activations MiB", "gradients MiB"),
        words=("tensors",),
    )
    for cut, stage in enumerate(plan.stages[:-1], 1):
        sizes = stage.sizes
        table.add_row(
            str(cut),
            ", ".join("the input" if name == INPUT else name for name in stage.boundary),
            mib(sizes.activation_bytes, 2),
            mib(sizes.gradient_bytes, 2),
        )
    console.print(table)


def _show_moves(explanation: Explanation, console: "Console") -> None:
    table = ResultTable(
        "Each cut moved by one legal place",
        ("cut", "moved", "layers that change stage", "bottleneck ms", "sent MiB"),
        words=WORDS,
    )
    for move in explanation.moves:
        table.add_row(
            str(move.cut), move.direction, ", ".join(move.layers),
            f"{move.bottleneck_change_s * 1e3:+.3f}", f"{move.sent_change_bytes / 2**20:+.3f}",
        )  # fmt: skip
    console.print(table)


def _show_losses(title: str, explanation: Explanation, console: "Console") -> None:
    table = ResultTable(title, ("method", "slower by", "reason"), words=WORDS)
    for other in sorted(explanation.losses, key=lambda loss: loss.loss):
        table.add_row(other.method, f"{other.loss:.1%}", other.reason)
    console.print(table)
