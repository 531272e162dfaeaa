"""Print the explanation of a plan."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from optimizer.explain import Alternative, Explanation
from optimizer.plan import STEADIEST, Plan, timeline
from optimizer.report.gantt import gantt_rows
from optimizer.schedule import makespan_s, schedule_of
from profiler.profile import INPUT, ModelCosts
from profiler.report import ResultTable, counted, mib

if TYPE_CHECKING:
    from rich.console import Console

Labels = Mapping[str, str]
"""What to call a layer, by its name."""

MINIBATCHES_SHOWN = 8
COLUMNS_SHOWN = 140
_STAGE_WIDTH = 12
"""Of what stands before a stage's row, and behind it."""
DOUBTFUL_SHOWN = 5
POINTS_SHOWN = 12
LEAST_REGRET = 0.0001
TIED = 0.00005
"""By which share a split may be slower and still show as 1.0000 times the plan."""
WORDS = ("cut", "moved", "layers that change stage", "cuts behind", "method", "reason")


def show_explanation(plan: Plan, model: ModelCosts, explanation: Explanation, console: "Console") -> None:
    """Print the explanation below the plan."""
    label = {INPUT: "the input"} | {layer.name: layer.label for layer in model.layers}
    console.print(
        "\n".join(["Why this plan:", *(f"- {sentence}" for sentence in paragraphs(plan, explanation, label))]),
        end="\n\n",
    )
    _show_boundaries(plan, label, console)
    _show_moves(explanation, label, console)
    _show_alternatives("The next best splits", explanation.runners_up, plan, console)
    more = len(explanation.front) - POINTS_SHOWN
    title = "Trade-off: send less, run slower" + (f" ({more} more with --json)" if more > 0 else "")
    _show_alternatives(title, explanation.front[:POINTS_SHOWN], plan, console)
    _show_losses(
        "What other methods lose, and why" + (", which keep to no limit" if plan.limits else ""), explanation, console
    )
    if not explanation.every_cut:
        console.print(
            "Next best splits and the trade-off are of cuts in captured order; all legal cuts are too many to rank."
        )
    _show_timeline(plan, console)


def _show_timeline(plan: Plan, console: "Console") -> None:
    spans = timeline(plan.stages, schedule_of(plan.schedule, len(plan.stages), MINIBATCHES_SHOWN, plan.update_every))
    column_s = makespan_s(spans) / min(COLUMNS_SHOWN, max(1, console.width - _STAGE_WIDTH))
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


def paragraphs(plan: Plan, explanation: Explanation, label: Labels) -> list[str]:
    """Return what can be said in sentences."""
    stage = plan.stages[explanation.bottleneck_stage]
    filled = ", ".join(
        f"{label[filler.layer]} {filler.step_s * 1e3:.1f} ms ({filler.share:.0%})" for filler in explanation.fillers
    )
    listed = " with ".join(label[name] for name in explanation.ceiling_layers[:2])
    reason = explanation.ceiling_reason
    whole = f"cannot be cut: {reason}" if reason else "is whole, and --slice could cut it inside"
    often = " that updates after each minibatch" if plan.update_every > 1 else ""
    before = "" if explanation.whole_ceiling is None else f"; with all layers whole, {explanation.whole_ceiling:.2f}"
    return [
        f"Stage {explanation.bottleneck_stage} is the slowest: {stage.total_s * 1e3:.1f} ms a minibatch, {filled}.",
        (
            f"The plan is {explanation.speed_up:.2f} times as fast as one core{often}. No split, into however many "
            f"stages, is more than {explanation.ceiling:.2f} times as fast{before}, for {listed} {whole}."
        ),
        *_whole(explanation, label),
        _proof(plan),
        *_confidence(plan, explanation, label),
    ]


def _whole(explanation: Explanation, label: Labels) -> list[str]:
    listed = [f"{label[own.layer]} ({own.share:.0%}: {own.reason})" for own in explanation.whole]
    gain = f"{explanation.whole_gain:.0%}"
    gain = "" if gain == "0%" else f"; could they be, the slowest stage would be at most {gain} shorter"
    return [f"Cannot be cut inside: {', '.join(listed)}{gain}."] if listed else []


def _proof(plan: Plan) -> str:
    searched = f"{plan.search.ideals:,} legal cuts ({plan.search.states:,} states) were searched"
    bound = f"no split{plan.limits} is below {plan.lower_bound_s * 1e3:.3f} ms"
    if plan.method == STEADIEST:
        above = f"this one's is {plan.gap:.1%} above that, and its other stages hold up less, so it is expected to"
        return f"{searched}: {bound}; {above} give more."
    if not plan.optimal:
        return f"{searched}, and that proves no more than that {bound}: a better one is at most {plan.gap:.1%} faster."
    ties = "" if plan.search.ties_settled else " Of the splits as quick, there may be one that sends less."
    return f"{searched}: {bound}, the plan's own bottleneck.{ties}"


def _confidence(plan: Plan, explanation: Explanation, label: Labels) -> list[str]:
    sure = explanation.confidence
    if sure is None:
        return [
            "How sure the plan is cannot be told: the profile has no samples, or legal cuts are too many to redraw."
        ]
    text = (
        f"Re-planned with {sure.draws} resampled measurements: still best{_or_tied(plan, explanation)} in "
        f"{sure.stays_best:.0%}; otherwise at most {sure.regret_95:.2%} slower in 95% of draws."
    )
    matter = [layer for layer in sure.layers if layer.regret >= LEAST_REGRET]
    if not matter:
        first = sure.layers[0]
        return [
            text,
            (
                f"Measurement error in any single layer could make this plan at most {LEAST_REGRET:.2%} slower than "
                f"the best; the least certain is {label[first.layer]} (±{first.half_width_s * 1e3:.2f} ms)."
            ),
        ]
    layers = ", ".join(
        f"{label[layer.layer]} (±{layer.half_width_s * 1e3:.2f} ms, {layer.regret:.2%})"
        for layer in matter[:DOUBTFUL_SHOWN]
    )
    return [
        text,
        f"Measurement errors that matter most, and how much slower than the best each could make the plan: {layers}.",
    ]


def _or_tied(plan: Plan, explanation: Explanation) -> str:
    """Say so if other splits are as fast as the plan, to what the table below shows."""
    ties = sum(split.bottleneck_s < plan.bottleneck_s * (1 + TIED) for split in explanation.runners_up)
    return f", or tied with the {counted(ties, 'next split')} below," if ties else ""


def _show_boundaries(plan: Plan, label: Labels, console: "Console") -> None:
    table = ResultTable(
        "What crosses each cut",
        ("cut", "tensors", "activations MiB", "gradients MiB"),
        words=("tensors",),
    )
    for cut, stage in enumerate(plan.stages[:-1], 1):
        sizes = stage.sizes
        table.add_row(
            str(cut),
            ", ".join(label[name] for name in stage.boundary),
            mib(sizes.activation_bytes, 2),
            mib(sizes.gradient_bytes, 2),
        )
    console.print(table)


def _show_moves(explanation: Explanation, label: Labels, console: "Console") -> None:
    table = ResultTable(
        "Each cut moved by one legal place",
        ("cut", "moved", "layers that change stage", "bottleneck ms", "sent MiB"),
        words=WORDS,
    )
    for move in explanation.moves:
        table.add_row(
            str(move.cut), move.direction, ", ".join(label[name] for name in move.layers),
            f"{move.bottleneck_change_s * 1e3:+.3f}", f"{move.sent_change_bytes / 2**20:+.3f}",
        )  # fmt: skip
    console.print(table)


def _show_alternatives(title: str, alternatives: Sequence[Alternative], plan: Plan, console: "Console") -> None:
    if not alternatives:
        return
    table = ResultTable(title, ("cuts behind", "bottleneck ms", "÷ plan", "sent MiB"), words=WORDS)
    for alternative in alternatives:
        table.add_row(
            " | ".join(", ".join(names) for names in alternative.cuts), f"{alternative.bottleneck_s * 1e3:.3f}",
            f"{alternative.bottleneck_s / plan.bottleneck_s:.4f}", f"{alternative.sent_bytes / 2**20:.2f}",
        )  # fmt: skip
    console.print(table)


def _show_losses(title: str, explanation: Explanation, console: "Console") -> None:
    table = ResultTable(title, ("method", "slower by", "reason"), words=WORDS)
    for other in sorted(explanation.losses, key=lambda loss: loss.loss):
        table.add_row(other.method, f"{other.loss:.1%}", other.reason)
    console.print(table)
