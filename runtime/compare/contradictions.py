"""Tell whether the values of a comparison go together: what was run, and all that is worked out from it."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from optimizer.plan import contradictions
from runtime.compare.comparison import ONE_CORE, Comparison, PartitionComparison
from runtime.compare.records import RunRecord
from runtime.compare.summary import summarised
from runtime.results import is_comparable

RELATIVE = 1e-6


def odd_values(comparison: Comparison) -> Iterator[str]:
    """Yield what contradicts itself in a comparison, each in words; the first may be the only one."""
    request = comparison.request  # whose sizes and schedule are held against those of plans, which are checked
    if len(request.cores) != request.num_stages:
        yield f"it has {request.num_stages} stages on {len(request.cores)} cores"
    if comparison.comparable != is_comparable(comparison.clock, comparison.core_count, len(request.cores)):
        yield "whether it is comparable is not what its clock and its cores say"
    yield from _odd_names(comparison)
    for part in comparison.partitions:
        yield from (f"in {part.name}, {odd}" for odd in _odd_partition(part, comparison))
    for run in comparison.runs:
        yield from (f"in a run of {run.name}, {odd}" for odd in _odd_run(run, comparison))
    for name, last in comparison.dropped.items():
        if any(run.name == name and run.series == "main" and run.round > last for run in comparison.runs):
            yield f"{name} ran on after round {last}, which had dropped it"
    if difference := _difference(comparison, summarised(comparison, comparison.runs), ""):
        yield f"its runs give another {difference}"


def _odd_names(comparison: Comparison) -> Iterator[str]:
    named = [part.name for part in comparison.partitions]
    for names in (named, comparison.contenders):
        for name in (name for name, times in Counter(names).items() if times > 1):
            yield f"'{name}' stands in it twice"
    if comparison.reference not in named:
        yield f"'{comparison.reference}' is what ratios are about, and no partition"
    for part in comparison.partitions:
        if part.same_as is not None and part.same_as not in comparison.splits:
            yield f"{part.name} is to be the same as '{part.same_as}', which did not run"
    for name in {run.name for run in comparison.runs}.difference(comparison.contenders):
        yield f"'{name}' ran, and is none of its contenders"
    runs = Counter((run.series, run.round, run.name) for run in comparison.runs)
    for _, number, name in (run for run, times in runs.items() if times > 1):
        yield f"round {number} of {name} stands in it twice"
    layers = [layer.name for layer in comparison.layers]
    if len(set(layers)) < len(layers) or not layers:
        yield "it has no layers, or two of one name"


def _odd_partition(part: PartitionComparison, comparison: Comparison) -> Iterator[str]:
    plan, request = part.plan, comparison.request
    yield from contradictions.odd_values(plan, as_run=True)
    minibatches = request.minibatches or plan.predicted.minibatches
    asked = (request.model, request.num_stages, request.batch_size, request.input_shape, minibatches)
    own = (plan.model, plan.num_stages, plan.batch_size, plan.input_shape, plan.predicted.minibatches)
    if own != asked or (plan.schedule, plan.update_every) != (request.schedule, request.update_every):
        yield "the plan is for another model, size, schedule, or number of stages or minibatches than was asked for"
    same = comparison.part(part.ran_as)
    if same is None or same.plan.split != plan.split:
        yield f"the split is not that of {part.same_as}"
    predicted = (part.cuts, part.predicted_throughput_samples_per_s, part.predicted_makespan_s)
    if predicted != (plan.cuts, plan.predicted.throughput_samples_per_s, plan.predicted.makespan_s):
        yield "cuts and predictions are not those of the plan"
    known = {layer.name for layer in comparison.layers}
    for name in (name for stage in plan.stages for name in stage.layers if comparison.own_layer(name) not in known):
        yield f"'{name}' is none of the model's layers"


def _odd_run(run: RunRecord, comparison: Comparison) -> Iterator[str]:
    stages = comparison.request.num_stages if run.name in comparison.splits and run.failure is None else 0
    if len(run.stages) != stages:
        yield f"there are {len(run.stages)} stages, where {stages} ran"
    if len(run.timeline) not in {0, stages}:
        yield f"there is a timeline of {len(run.timeline)} stages, where {stages} ran"
    if run.failure is None and run.series == "main" and not run.throughput_samples_per_s:
        yield "nothing failed and nothing went through"
    if run.failure is not None and run.throughput_samples_per_s:
        yield "something failed and has a throughput"
    if any(start_s > end_s for row in run.timeline for _, _, start_s, end_s in row):
        yield "an action ends before it starts"
    if run.name == ONE_CORE and run.series == "alone":
        yield "one core has no stages to run alone"


def _difference(said: Any, found: Any, name: str) -> str:
    """Return the name of the first value in which two results differ beyond rounding; nothing where none does."""
    if is_dataclass(said) and type(said) is type(found):
        pairs = [(getattr(said, own.name), getattr(found, own.name), own.name) for own in fields(said)]
    elif isinstance(said, Sequence) and not isinstance(said, str) and type(said) is type(found):
        if len(said) != len(found):
            return name
        pairs = [(one, other, name) for one, other in zip(said, found, strict=True)]
    elif isinstance(said, float) and isinstance(found, float):
        return "" if math.isclose(said, found, rel_tol=RELATIVE, abs_tol=1e-12) else name
    else:
        return "" if said == found else name
    return next((odd for pair in pairs if (odd := _difference(*pair))), "")
