"""What a comparison is asked for: begin one, or say why one that is kept is not the one that is asked for."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from optimizer.plan import Plan
from optimizer.planning import OPTIMIZED, distinct
from optimizer.schedule import ScheduleName
from profiler.machine import differences, this_machine
from profiler.profile import Profile, profile_warnings
from profiler.settings import UpdateRule
from runtime.compare.audit import audit
from runtime.compare.comparison import BaselineComparison, Comparison, PartitionComparison
from runtime.compare.records import LayerCost
from runtime.pipeline import comparable
from runtime.results import ChannelName


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for; each but the last two is a field of the comparison, too.

    Attributes:
        repeats: How many rounds; a comparison with fewer is gone on with.
        baselines: Whether what a user would run instead runs, too.
    """

    model: str
    batch_size: int
    input_shape: tuple[int, ...]
    minibatches: int
    num_stages: int
    cores: tuple[int, ...]
    schedule: ScheduleName
    flush_every: int | None
    channel: ChannelName
    rule: UpdateRule
    data: str
    asked: tuple[str, ...]
    distinct_splits: int
    repeats: int
    baselines: bool


def difference(found: Comparison, request: Request) -> str:
    """Say why ``found`` is not what is asked for; nothing where it is."""
    for field in fields(Request)[:-2]:
        there, wanted = getattr(found, field.name), getattr(request, field.name)
        if there != wanted:
            return f"that one has {field.name.replace('_', ' ')} {_said(there)}, not {_said(wanted)}"
    if bool(found.baselines) != request.baselines:
        return "that one has baselines" if found.baselines else "that one has no baselines"
    others = differences(found.machine, this_machine())
    return f"that one was measured elsewhere: {'; '.join(others)}" if others else ""


def new_comparison(
    request: Request,
    plans: Mapping[str, Plan],
    profile: Profile,
    baselines: Sequence[BaselineComparison],
    left_out: Sequence[str],
) -> Comparison:
    """Return a comparison in which nothing has run yet.

    Args:
        request: What is asked for.
        plans: The partitions by name, each under the schedule that is to run.
        profile: What they were planned with.
        baselines: What runs beside them.
        left_out: Why partitions that were asked for are not among the plans.
    """
    names = list(plans)
    first = distinct(list(plans.values()))
    partitions = tuple(
        partition(name, plan, None if names[at] == name else names[at])
        for (name, plan), at in zip(plans.items(), first, strict=True)
    )
    return Comparison(
        model=request.model,
        model_digest=profile.model_digest,
        batch_size=request.batch_size,
        input_shape=request.input_shape,
        minibatches=request.minibatches,
        repeats=request.repeats,
        num_stages=request.num_stages,
        cores=request.cores,
        schedule=request.schedule,
        flush_every=request.flush_every,
        channel=request.channel,
        rule=request.rule,
        data=request.data,
        comparable=comparable(request.cores),
        asked=request.asked,
        distinct_splits=request.distinct_splits,
        left_out=tuple(left_out),
        reference=OPTIMIZED if OPTIMIZED in plans else names[0],
        machine=this_machine(),
        began_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
        profile_warnings=tuple(profile_warnings(profile)),
        layers=tuple(
            LayerCost(
                name=layer.name,
                kind=layer.kind,
                forward_s=layer.forward_s,
                backward_s=layer.backward_s,
                update_s=layer.update_s,
                output_bytes=layer.output_bytes,
                parameter_bytes=layer.parameter_bytes,
                flops=layer.flops,
            )
            for layer in profile.layers
        ),
        partitions=partitions,
        baselines=tuple(baselines),
        runs=(),
        audit=audit(partitions, request.batch_size, comparable=comparable(request.cores)),
    )


def command_line() -> str:
    """Return the command that was typed."""
    return shlex.join(["python", "-m", "runtime", *sys.argv[1:]])


def partition(name: str, plan: Plan, same_as: str | None) -> PartitionComparison:
    """Return a partition that has not run yet."""
    return PartitionComparison(
        name=name,
        cuts=plan.cuts,
        plan=plan,
        same_as=same_as,
        predicted_throughput_samples_per_s=plan.predicted.throughput_samples_per_s,
        predicted_makespan_s=plan.predicted.makespan_s,
    )


def _said(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
