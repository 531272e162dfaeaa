"""A run as a trace in Chrome's format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

A process for each stage. On its first track the actions, each with the copy into the channel
nested in it; on its second the waits. An arrow leads from each send to the action that read it. Times are microseconds
from the run's start.

On the virtual clock the times are those of a machine with a core for every stage; ``otherData`` says so.

Source: the "Trace Event Format" (complete events ``X``, metadata ``M``, flow events ``s`` and ``f``).
"""

import json
from collections.abc import Iterator
from typing import Any

from optimizer.schedule import KIND_NAMES
from runtime.pipeline import taking_turns
from runtime.results import ActionRecord, RunResult

_WORK, _WAIT = 0, 1


def trace_of(result: RunResult) -> bytes:
    """Return the trace as JSON."""
    words = taking_turns(len(result.stages), result.core_count) if result.clock == "virtual" else "Wall clock."
    trace = {"traceEvents": list(_events(result)), "displayTimeUnit": "ms", "otherData": {"clock": words}}
    return json.dumps(trace, separators=(",", ":")).encode()


def _events(result: RunResult) -> Iterator[dict[str, Any]]:
    zero_s = min(record.start_s - record.wait_s for stage in result.stages for record in stage.actions)
    last = len(result.plan.stages) - 1
    for number, stage in enumerate(result.stages):
        planned = result.plan.stages[stage.stage]
        layers = f"{planned.layers[0]} … {planned.layers[-1]}"
        title = f"stage {stage.stage} on {stage.host}, core {stage.core}: {layers}"
        yield {"ph": "M", "pid": number, "name": "process_name", "args": {"name": title}}
        yield {"ph": "M", "pid": number, "name": "process_sort_index", "args": {"sort_index": number}}
        for thread, name in ((_WORK, "actions"), (_WAIT, "waits")):
            yield {"ph": "M", "pid": number, "tid": thread, "name": "thread_name", "args": {"name": name}}
        for record in stage.actions:
            yield from _of_action(record, (number, stage.stage), last, zero_s)


def _of_action(record: ActionRecord, place: tuple[int, int], last: int, zero_s: float) -> Iterator[dict[str, Any]]:
    """Yield the events of one action; ``place`` is its rank and its stage."""
    rank, stage = place
    start, computed, end = (
        round((time_s - zero_s) * 1e6, 3) for time_s in (record.start_s, record.computed_s, record.end_s)
    )
    name = f"{stage}{record.kind}{record.minibatch}"
    here = {"pid": rank, "tid": _WORK}
    facts = {
        "minibatch": record.minibatch, "weight version": record.version, "wait ms": record.wait_s * 1e3,
        "processor ms": record.cpu_s * 1e3,
    }  # fmt: skip
    if record.wait_s > 0:
        wait = round(record.wait_s * 1e6, 3)
        yield {
            "ph": "X", "name": f"wait for {name}", "cat": "wait", "pid": rank, "tid": _WAIT,
            "ts": start - wait, "dur": wait,
        }  # fmt: skip
    yield {
        "ph": "X", "name": name, "cat": KIND_NAMES[record.kind], "ts": start, "dur": max(0.0, end - start),
        "args": facts,
    } | here  # fmt: skip
    to = {"F": stage + 1, "B": stage - 1}.get(record.kind)
    if to is not None and 0 <= to <= last:
        yield {
            "ph": "X", "name": "send", "cat": "send", "ts": computed, "dur": max(0.0, end - computed),
            "args": {"to stage": to},
        } | here  # fmt: skip
        yield {"ph": "s", "name": "handed over", "cat": "flow", "id": _flow(record, stage), "ts": computed} | here
    came = {"F": stage - 1, "B": stage + 1}.get(record.kind)
    if came is not None and 0 <= came <= last:
        yield {
            "ph": "f", "bp": "e", "name": "handed over", "cat": "flow", "id": _flow(record, came), "ts": start
        } | here  # fmt: skip


def _flow(record: ActionRecord, sender: int) -> str:
    return f"{sender}{record.kind}{record.minibatch}"
