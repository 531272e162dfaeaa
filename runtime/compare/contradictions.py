"""Tell whether the values of a comparison go together: its request, its partitions and its runs."""

from collections import Counter
from collections.abc import Iterator

from optimizer.plan import contradictions
from runtime.compare.comparison import Comparison
from runtime.compare.records import Partition, RunRecord

LEAST_SAMPLES_PER_S = 1e-9


def odd_values(comparison: Comparison) -> Iterator[str]:
    """Yield what contradicts itself in a comparison, each in words; the first may be the only one."""
    request = comparison.request  # whose sizes and schedule are held against those of plans, which are checked
    if len(request.cores) != request.num_stages:
        yield f"it has {request.num_stages} stages on {len(request.cores)} cores"
    yield from _odd_names(comparison)
    for part in comparison.partitions:
        yield from (f"in {part.name}, {odd}" for odd in _odd_partition(part, comparison))
    for run in comparison.runs:
        yield from (f"in a run of {run.name}, {odd}" for odd in _odd_run(run, comparison))


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
    runs = Counter((run.round, run.name) for run in comparison.runs)
    for number, name in (run for run, times in runs.items() if times > 1):
        yield f"round {number} of {name} stands in it twice"
    layers = [layer.name for layer in comparison.layers]
    if len(set(layers)) < len(layers) or not layers:
        yield "it has no layers, or two of one name"


def _odd_partition(part: Partition, comparison: Comparison) -> Iterator[str]:
    plan, request = part.plan, comparison.request
    yield from contradictions.odd_values(plan, as_run=True)
    minibatches = request.minibatches or plan.predicted.minibatches
    asked = (request.model, request.num_stages, request.batch_size, request.input_shape, minibatches)
    own = (plan.model, plan.num_stages, plan.batch_size, plan.input_shape, plan.predicted.minibatches)
    if own != asked or (plan.schedule, plan.update_every) != (request.schedule, request.update_every):
        yield "the plan is for another model, size, schedule, or number of stages or minibatches than was asked for"
    same = next((other for other in comparison.partitions if other.name == part.ran_as), None)
    if same is None or same.plan.split != plan.split:
        yield f"the split is not that of {part.same_as}"
    known = {layer.name for layer in comparison.layers}
    for name in (name for stage in plan.stages for name in stage.layers if comparison.own_layer(name) not in known):
        yield f"'{name}' is none of the model's layers"


def _odd_run(run: RunRecord, comparison: Comparison) -> Iterator[str]:
    stages = comparison.request.num_stages if run.name in comparison.splits and run.failure is None else 0
    if len(run.stages) != stages:
        yield f"there are {len(run.stages)} stages, where {stages} ran"
    if len(run.timeline) not in {0, stages}:
        yield f"there is a timeline of {len(run.timeline)} stages, where {stages} ran"
    if run.failure is None and run.throughput_samples_per_s < LEAST_SAMPLES_PER_S:
        yield "nothing failed and nothing went through"
    if run.failure is not None and run.throughput_samples_per_s:
        yield "something failed and has a throughput"
    if any(start_s > end_s for row in run.timeline for _, _, start_s, end_s in row):
        yield "an action ends before it starts"
