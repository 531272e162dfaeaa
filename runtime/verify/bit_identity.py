"""Hold what a pipeline trained against a replay in one process, bit for bit, and against the uncut model.

The replay runs the captured layers by the same recurrence, whatever the schedule. The model itself, neither captured
nor cut, trains the same under synchronous schedules.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout

import torch
from torch import Tensor

from optimizer.plan import Plan
from profiler.execution import Captured
from runtime.pipeline import Execution, Outcome, refuse_other_data
from runtime.results import Digests, PartitionVerification
from runtime.verify.data_again import ReadAgain, feed_again
from runtime.verify.replay import Recurrence, Replay, Trained
from runtime.verify.uncut import Uncut
from runtime.worker import Checksums, digest_of_all, digests


def verify(
    name: str,
    plan: Plan,
    execution: Execution,
    minibatches: int,
    advance: Callable[[], None],
    *,
    uncut: Uncut | None = None,
) -> PartitionVerification:
    """Run a plan in the pipeline, replay it in this process, and compare.

    This process has to be settled as a stage is, and the execution has to keep digests.

    Args:
        name: The partition's name.
        plan: What runs.
        execution: What runs it.
        minibatches: How many.
        advance: Called ``minibatches + 1`` times in all.
        uncut: What the uncut model trains, to be held against that, too.
    """
    with execution.loaded(plan, minibatches) as loaded:
        outcome = loaded.run_loaded()
        state = loaded.state_dict()
    advance()
    verification: PartitionVerification | None = None
    if execution.session.leads:  # where several ranks have run the plan, the first has what all have trained
        with redirect_stdout(sys.stderr):  # what user code prints is no result
            trained = replayed(plan, execution, minibatches, outcome.checksums, advance)
        difference = next(_differences(execution.captured, outcome, state, trained), None)
        verification = PartitionVerification(
            name=name,
            cuts=plan.cuts,
            identical=difference is None,
            first_difference=difference,
            digests=_digests(execution.captured, outcome.result.losses, state),
            replay_digests=_digests(execution.captured, trained.losses, trained.weights | trained.buffers),
            uncut_error=uncut.error(outcome.result.losses, state) if uncut else None,
        )
    verification, *_ = execution.session.exchange(verification, PartitionVerification | None)
    assert verification is not None
    return verification


def replayed(
    plan: Plan, execution: Execution, minibatches: int, checksums: Checksums, advance: Callable[[], None]
) -> Trained:
    """Replay a plan as ``execution`` would run it, on minibatches with these checksums."""
    settings = execution.settings
    recurrence = Recurrence(pace=settings.pace, stages=len(plan.stages), minibatches=minibatches)
    stage_of = {layer: number for number, stage in enumerate(plan.stages) for layer in stage.layers}
    replay = Replay(execution.captured, stage_of, execution.initial_state(), settings.rule, recurrence)
    feed = feed_again(execution, minibatches)
    if isinstance(feed, ReadAgain):
        refuse_other_data(execution.data_name, checksums, feed.reader.checksums)
    return replay.run(feed, settings.seed, advance)


def _differences(captured: Captured, outcome: Outcome, state: Mapping[str, Tensor], trained: Trained) -> Iterator[str]:
    """Yield what differs, earliest minibatch first, and within one in the order in which it is computed."""
    for minibatch, (ours, theirs) in enumerate(zip(outcome.result.losses, trained.losses, strict=True)):
        replayed_here = trained.minibatch_digests[minibatch]
        pairs = [
            (rows[minibatch], replayed) for rows, replayed in zip(outcome.minibatch_digests, replayed_here, strict=True)
        ]
        for said, replayed in pairs:
            yield from _first(captured, said.buffers, replayed.buffers, minibatch, "buffer")
        if ours != (theirs if math.isfinite(theirs) else None):  # as a result has it
            yield f"minibatch {minibatch}: the loss is {ours} in the pipeline and {theirs} in the replay"
        for said, replayed in reversed(pairs):
            yield from _first(captured, said.gradients, replayed.gradients, minibatch, "gradient of")
    for what, tensors in (("weight", trained.weights), ("buffer", trained.buffers)):
        held, wanted = digests({path: state[path] for path in tensors}), digests(tensors)
        yield from (
            f"after the last minibatch: {what} {path} differs" for path in tensors if held[path] != wanted[path]
        )


def _first(
    captured: Captured, ours: Mapping[str, str], theirs: Mapping[str, str], minibatch: int, what: str
) -> Iterator[str]:
    order = [path for path, _ in [*captured.model.named_parameters(), *captured.model.named_buffers()]]
    for path in order:
        if ours.get(path) != theirs.get(path):
            layer = path.rpartition(".")[0] or path
            yield f"minibatch {minibatch}, layer {layer}: the {what} {path} differs"


def _digests(captured: Captured, losses: Sequence[float | None], state: Mapping[str, Tensor]) -> Digests:
    finite = [loss if loss is not None and math.isfinite(loss) else math.nan for loss in losses]
    numbers = torch.tensor(finite, dtype=torch.float64)
    return Digests(
        losses=digest_of_all([numbers]),
        weights=digest_of_all(state[path] for path, _ in captured.model.named_parameters()),
        buffers=digest_of_all(state[path] for path, _ in captured.model.named_buffers()),
    )
