"""Show why a plan is what it is, for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizer.explain import Alternative, Explanation
from optimizer.plan import Plan, timeline
from optimizer.report.gantt import gantt_rows
from optimizer.schedule import ASYNCHRONOUS, makespan_s, schedule_of
from profiler.report import new_table

if TYPE_CHECKING:
    from rich.console import Console

MINIBATCHES_SHOWN = 8
COLUMNS_SHOWN = 140
DOUBTFUL_SHOWN = 5
POINTS_SHOWN = 12
LEAST_REGRET = 0.0001
WORDS = ("cut", "moved", "layers that change stage", "cuts behind", "method", "reason")


def show_explanation(plan: Plan, found: Explanation, console: "Console") -> None:
    """Print the explanation below the plan."""
    console.print("\n".join(["Why this plan:", *(f"- {one}" for one in paragraphs(plan, found))]), end="\n\n")
    _show_moves(found, console)
    _show_alternatives("The next best splits", found.runners_up, plan, console)
    more = len(found.front) - POINTS_SHOWN
    title = "Fewer bytes for a slower bottleneck, from the plan on" + (
        f" ({more} more with --json)" if more > 0 else ""
    )
    _show_alternatives(title, found.front[:POINTS_SHOWN], plan, console)
    _show_losses(
        "What other methods lose, and why" + (", which keep to no limit" if plan.limits else ""), found, console
    )
    if not found.every_cut:
        console.print(
            "Next best splits and the trade-off are of cuts in captured order; all legal cuts are too many to rank."
        )
    _show_timeline(plan, console)


def _show_timeline(plan: Plan, console: "Console") -> None:
    spans = timeline(plan.stages, schedule_of(ASYNCHRONOUS, len(plan.stages), MINIBATCHES_SHOWN))
    column_s = makespan_s(spans) / COLUMNS_SHOWN
    if not column_s:
        return
    console.print(
        f"The first {MINIBATCHES_SHOWN} minibatches, a column for every {column_s * 1e3:.1f} ms: digits run forward, "
        "letters backward (a is minibatch 0), u updates, · waits."
    )
    for row in gantt_rows(spans, column_s):
        console.print(row, soft_wrap=True)
    console.print(
        f"Over {plan.predicted.minibatches} minibatches stages wait {plan.predicted.bubble_share:.0%} of the time, "
        "warm-up and drain included."
    )


def paragraphs(plan: Plan, found: Explanation) -> list[str]:
    """Return what can be said in sentences."""
    stage = plan.stages[found.bottleneck_stage]
    filled = ", ".join(f"{one.layer} {one.step_s * 1e3:.1f} ms ({one.share:.0%})" for one in found.fillers)
    whole_s = sum(one.compute_s + one.update_s for one in plan.stages)
    reached = whole_s / plan.bottleneck_s if plan.bottleneck_s else 0.0
    listed = " with ".join(found.ceiling_layers[:2])
    return [
        f"Stage {found.bottleneck_stage} is the slowest, with {stage.total_s * 1e3:.1f} ms a minibatch: {filled}.",
        (
            f"The plan is {reached:.2f} times as fast as one core. No split, into however many stages, is more than "
            f"{found.ceiling:.2f} times as fast, for {listed} cannot be cut."
        ),
        _proof(plan),
        *_confidence(found),
    ]


def _proof(plan: Plan) -> str:
    searched = f"{plan.search.ideals:,} legal cuts ({plan.search.states:,} states) were searched"
    bound = f"no split{plan.limits} is below {plan.lower_bound_s * 1e3:.3f} ms"
    if not plan.optimal:
        return f"{searched}, and that proves no more than that {bound}: a better one is at most {plan.gap:.1%} faster."
    ties = "" if plan.search.ties_settled else " Of the splits as quick, there may be one that sends less."
    return f"{searched}: {bound}, the plan's own bottleneck.{ties}"


def _confidence(found: Explanation) -> list[str]:
    sure = found.confidence
    if sure is None:
        return [
            "How sure the plan is cannot be told: the profile has no samples, or legal cuts are too many to redraw."
        ]
    text = (
        f"Drawn anew {sure.draws} times within the profile's uncertainty, this split stays the best in "
        f"{sure.stays_best:.0%}; what it loses is {sure.expected_regret:.2%} on average and below "
        f"{sure.regret_95:.2%} in 95% of the draws."
    )
    matter = [one for one in sure.layers if one.regret >= LEAST_REGRET]
    if not matter:
        first = sure.layers[0]
        return [
            text,
            (
                f"No layer alone can cost as much as {LEAST_REGRET:.2%}; the least certain is {first.layer} "
                f"(±{first.half_width_s * 1e3:.2f} ms)."
            ),
        ]
    layers = ", ".join(
        f"{one.layer} (±{one.half_width_s * 1e3:.2f} ms, {one.regret:.2%})" for one in matter[:DOUBTFUL_SHOWN]
    )
    return [text, f"The layers whose uncertainty matters most, and what each alone may cost: {layers}."]


def _show_moves(found: Explanation, console: "Console") -> None:
    table = new_table(
        "Each cut moved by one legal place",
        ("cut", "moved", "layers that change stage", "bottleneck ms", "sent MiB"),
        words=WORDS,
    )
    for move in found.moves:
        table.add_row(
            str(move.cut), move.direction, ", ".join(move.layers),
            f"{move.bottleneck_change_s * 1e3:+.3f}", f"{move.sent_change_bytes / 2**20:+.3f}",
        )  # fmt: skip
    console.print(table)


def _show_alternatives(title: str, found: Sequence[Alternative], plan: Plan, console: "Console") -> None:
    if not found:
        return
    table = new_table(title, ("cuts behind", "bottleneck ms", "÷ plan", "sent MiB"), words=WORDS)
    for one in found:
        table.add_row(
            " | ".join(", ".join(names) for names in one.cuts), f"{one.bottleneck_s * 1e3:.3f}",
            f"{one.bottleneck_s / plan.bottleneck_s:.4f}", f"{one.sent_bytes / 2**20:.2f}",
        )  # fmt: skip
    console.print(table)


def _show_losses(title: str, found: Explanation, console: "Console") -> None:
    table = new_table(title, ("method", "slower by", "reason"), words=WORDS)
    for one in sorted(found.losses, key=lambda loss: loss.loss):
        table.add_row(one.method, f"{one.loss:.1%}", one.reason)
    console.print(table)
