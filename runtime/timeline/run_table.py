"""Show a single run stage by stage, with prediction beside measurement."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from optimizer.plan import Plan
from optimizer.report import not_these_cores
from optimizer.schedule import SCHEDULES, Schedule, groups, steady_minibatches
from profiler.report import ResultTable, counted, mib, ms
from runtime.pipeline import noisy, sharing, taking_turns
from runtime.results import ActionRecord, RunResult

if TYPE_CHECKING:
    from rich.console import Console


PLACES = ("busy", "warm-up", "starved", "blocked", "drain", "imbalance")
"""Where a stage's time goes."""


def bubbles_of(result: RunResult) -> list[dict[str, float]]:
    """Divide each stage's seconds in a run into what it worked and what it waited for, as ``PLACES`` names it.

    All but the imbalance, which is a part of starved and blocked, add up to the whole.
    """
    start_s = min(stage.actions[0].start_s for stage in result.stages)
    end_s = max(stage.actions[-1].end_s for stage in result.stages)
    plan, minibatches = result.plan, result.minibatches
    flush_every = plan.update_every if plan.pace.rule.synchronous else minibatches
    every_stage = [_of_stage(stage.actions, start_s, end_s, minibatches, flush_every) for stage in result.stages]
    most_s = max(own["busy"] for own in every_stage)
    return [own | {"imbalance": min(own["starved"] + own["blocked"], most_s - own["busy"])} for own in every_stage]


def _of_stage(
    actions: Sequence[ActionRecord], start_s: float, end_s: float, minibatches: int, flush_every: int
) -> dict[str, float]:
    spent_s = dict.fromkeys(PLACES, 0.0)
    before_s = start_s
    for record, place in _placed(actions, minibatches, flush_every):
        wait_s = min(record.wait_s, max(0.0, record.start_s - before_s))
        if record is actions[0]:
            wait_s = record.start_s - before_s  # before the first, all is waiting
        spent_s[place] += wait_s
        # What lies between two actions and is no wait is the stage's own doing.
        spent_s["busy"] += record.end_s - before_s - wait_s
        before_s = record.end_s
    spent_s["drain"] += end_s - before_s
    return spent_s


def _placed(actions: Sequence[ActionRecord], minibatches: int, flush_every: int) -> Iterator[tuple[ActionRecord, str]]:
    """Yield each action with the name of what a wait before it is."""
    own = {record.minibatch for record in actions if record.kind == "F"}
    rounds = [[minibatch for minibatch in group if minibatch in own] for group in groups(minibatches, flush_every)]
    first, last = {group[0] for group in rounds}, {group[-1] for group in rounds}
    warm, over = True, False
    for record in actions:
        if record.kind == "F" and record.minibatch in first:
            warm, over = True, False
        steady = "starved" if record.kind == "F" else "blocked"
        yield record, "warm-up" if warm else "drain" if over else steady
        warm = warm and not (record.kind == "B" and record.minibatch in first)
        over = over or (record.kind == "F" and record.minibatch in last)


def show_run(result: RunResult, console: "Console") -> None:
    """Print what a run gave, marked where that is doubtful, and then stage by stage."""
    plan = result.plan
    cores = None if result.clock == "wall" else result.core_count
    if sentence := not_these_cores(len(result.stages), cores, "measures it"):
        console.print(sentence)
    console.print(f"{_gave(result)}; loss {_loss(result.losses[0])} at first, {_loss(result.losses[-1])} at last.")
    for line in _doubts(result):
        console.print(line)
    precision = f"{plan.precision}, " if plan.form.lowered else ""
    table = ResultTable(
        f"{plan.model}, {plan.method}, {counted(result.minibatches, 'minibatch')}, {precision}{plan.pace.words} "
        f"({SCHEDULES[plan.schedule].semantics}), {result.channel}, {result.rule.kind}, lr {result.rule.lr:g}",
        ("stage", "layers", "core", "predicted ms", "busy ms", "waits ms", "peak MiB"),
        words=("layers",),
        caption="Per minibatch. Busy: processor time, and copying. Waits: for neighbours. Peak: resident memory above "
        "an empty one.",
    )
    several = len({stage.host for stage in result.stages}) > 1
    for stage in result.stages:
        planned = plan.stages[stage.stage]
        table.add_row(
            str(stage.stage), f"{planned.layers[0]} … {planned.layers[-1]}",
            f"{stage.host}: {stage.core}" if several else str(stage.core),
            ms(planned.total_s * planned.ease), ms(stage.measured.busy_s), ms(stage.measured.wait_s),
            mib(stage.measured.peak_rss_bytes),
        )  # fmt: skip
    console.print(table)
    console.print(_bubble_table(result))


def _gave(result: RunResult) -> str:
    """Return the throughput, with what casts doubt on it in brackets, and what was predicted."""
    plan = result.plan
    steadily = steady_minibatches(Schedule(plan.pace, len(result.stages), result.minibatches))[0] > 0
    steady = "in the steady state" if steadily else "over the whole run"
    names = [line.partition(":")[0] for line in _doubts(result) if line.partition(":")[0].isupper()]
    mark = f" ({', '.join(names)})" if names else ""
    return (
        f"{plan.model}: {result.throughput_samples_per_s:.1f} samples/s{mark} {steady}, predicted {_promised(plan)}; "
        f"{result.makespan_s:.2f} s in all"
    )


def _doubts(result: RunResult) -> list[str]:
    """Return what casts doubt on a run, and what its clock leaves out."""
    said = []
    if result.clock == "virtual":
        said.append(taking_turns(len(result.stages), result.core_count))
    busiest = max(result.stages, key=lambda stage: stage.measured.foreign_load)
    if not result.comparable:
        said.append(sharing(len(result.stages), result.core_count))
    elif doubt := noisy(busiest.core, busiest.measured.foreign_load):
        said.append(doubt)
    return said


def _promised(plan: Plan) -> str:
    """Return what a plan promises, with the interval where it has one."""
    expected = plan.predicted.expected
    return (
        f"{expected.samples_per_s:.1f} ({expected.low:.1f} to {expected.high:.1f})"
        if expected
        else f"{plan.predicted.throughput_samples_per_s:.1f}"
    )


def _bubble_table(result: RunResult) -> ResultTable:
    """Return where the time of each stage went, in per cent of the makespan."""
    table = ResultTable(
        "where the time went, % of the makespan",
        ("stage", *PLACES),
        caption="Starved: waiting for activations; blocked: for gradients; of the two, imbalance: what the busiest "
        "stage has more to do.",
    )
    for run, spent_s in zip(result.stages, bubbles_of(result), strict=True):
        whole_s = sum(spent_s.values()) - spent_s["imbalance"]
        shares = (f"{spent_s[place] / whole_s:.1%}" if whole_s else "–" for place in PLACES)
        table.add_row(str(run.stage), *shares)
    return table


def _loss(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
