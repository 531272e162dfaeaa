"""Hold what a pipeline trained against a replay in one process, bit for bit.

The replay runs the captured layers by the same recurrence, whatever the schedule.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout

import torch
from torch import Tensor

from optimizer.plan import Plan
from profiler.execution import Captured
from runtime.pipeline import Execution, refuse_other_data
from runtime.results import Digests, PartitionVerification
from runtime.verify.replay import Pairs, Recurrence, Replay, Trained
from runtime.worker import POOL, Checksums, digest_of_all, synthetic_inputs, synthetic_targets


def verify(
    name: str,
    plan: Plan,
    execution: Execution,
    minibatches: int,
    advance: Callable[[], None],
) -> PartitionVerification:
    """Run a plan in the pipeline, replay it in this process, which is settled as a stage is, and compare.

    Args:
        name: The partition's name.
        plan: What runs.
        execution: What runs it.
        minibatches: How many.
        advance: Called ``minibatches + 1`` times in all.
    """
    with execution.loaded(plan, minibatches) as loaded:
        outcome = loaded.run_loaded()
        state = loaded.state_dict()
    advance()
    verification: PartitionVerification | None = None
    if execution.session.leads:  # where several ranks have run the plan, the first has what all have trained
        captured, losses = execution.captured, outcome.result.losses
        with redirect_stdout(sys.stderr):  # what user code prints is no result
            pairs = minibatches_again(execution, minibatches, outcome.checksums)
            trained = _replay(plan, execution, minibatches).run(pairs, execution.settings.seed, advance)
        difference = next(_differences(losses, state, trained), None)
        verification = PartitionVerification(
            name=name,
            cuts=plan.cuts,
            identical=difference is None,
            first_difference=difference,
            digests=_digests(captured, losses, state),
            replay_digests=_digests(captured, trained.losses, trained.state),
        )
    verification, *_ = execution.session.exchange(verification, PartitionVerification | None)
    assert verification is not None
    return verification


def minibatches_again(execution: Execution, minibatches: int, checksums: Checksums = ()) -> Pairs:
    """Return the minibatches that an execution's runs train on, all read before the first is trained on.

    Layers draw from the same generators as a loader. Data that differ from the reading with ``checksums`` are refused.
    """
    if not execution.settings.data:
        spec = execution.data_spec(minibatches)
        pool = list(zip(synthetic_inputs(spec), synthetic_targets(spec), strict=True))
        return [pool[minibatch % POOL] for minibatch in range(minibatches)]
    reader = execution.reader()
    pairs = [pair for pair in (reader.read() for _ in range(minibatches)) if pair]
    if len(pairs) < minibatches:
        raise reader.too_few(minibatches)
    refuse_other_data(execution.data_name, checksums, reader.checksums)
    return pairs


def _replay(plan: Plan, execution: Execution, minibatches: int) -> Replay:
    settings = execution.settings
    recurrence = Recurrence(pace=settings.pace, stages=len(plan.stages), minibatches=minibatches)
    stage_of = {layer: number for number, stage in enumerate(plan.stages) for layer in stage.layers}
    return Replay(execution.captured, stage_of, execution.initial_state(), settings.rule, recurrence)


def _differences(losses: Sequence[float | None], state: Mapping[str, Tensor], trained: Trained) -> Iterator[str]:
    """Yield what differs: losses in their order, and then what was trained."""
    for minibatch, (ours, theirs) in enumerate(zip(losses, trained.losses, strict=True)):
        if ours != (theirs if math.isfinite(theirs) else None):  # as a result has it
            yield f"minibatch {minibatch}: the loss is {ours} in the pipeline and {theirs} in the replay"
    for path, tensor in trained.state.items():
        if digest_of_all([state[path]]) != digest_of_all([tensor]):
            yield f"after the last minibatch: {path} differs"


def _digests(captured: Captured, losses: Sequence[float | None], state: Mapping[str, Tensor]) -> Digests:
    finite = [loss if loss is not None and math.isfinite(loss) else math.nan for loss in losses]
    return Digests(
        losses=digest_of_all([torch.tensor(finite, dtype=torch.float64)]),
        weights=digest_of_all(state[path] for path, _ in captured.model.named_parameters()),
        buffers=digest_of_all(state[path] for path, _ in captured.model.named_buffers()),
    )
