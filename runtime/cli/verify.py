"""``python -m runtime verify``: hold pipelines against single-process replays, bit for bit."""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import profiler.machine
import runtime.pipeline
import runtime.verify
from optimizer.plan import Plan, distinct
from optimizer.planning import ALL
from profiler.cli import configs, emit_json, option, progress, stdout
from profiler.report import counted
from profiler.settings import Config
from runtime.cli.options import RankOptions, settings_of
from runtime.cli.plans import named_plans, one_plan, refuse_without_plan
from runtime.hosts import agree_on_plan, joined
from runtime.results import PartitionVerification, Verification

if TYPE_CHECKING:
    from rich.console import Console

    from runtime.hosts import Session

MINIBATCHES = 8
"""Enough for every slot and weight version of four stages to be used again, where no update takes more minibatches."""
FAILED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions(RankOptions):
    """The options of ``verify``."""

    partition: Annotated[
        str | None, option("optimized, sliced, bf16, a scheme, or all (all)", under="split", metavar="P")
    ] = None


def verify_all(options: VerifyOptions) -> int:
    """Verify the plan, or the partitions of every model that is named; exit code 1 says that one differs."""
    profiler.machine.expect_processes()
    with joined(options.rank_timeout_s, options.stall_timeout_s) as session:
        if session.distributed:
            refuse_without_plan(options)
        wanted = _wanted(options)
        config, plans = wanted[0]
        cores = runtime.pipeline.cores_of(config, len(next(iter(plans.values())).stages))
        verifications = [_verified(options, config, plans, cores, session) for config, plans in wanted]
        if options.json and session.leads:
            emit_json(verifications)
    return 0 if all(part.identical for verification in verifications for part in verification.partitions) else FAILED


def _wanted(options: VerifyOptions) -> list[tuple[Config, dict[str, Plan]]]:
    """Return what is to be verified, each with its configuration: the plan that is named, or partitions by name."""
    if options.plan:
        config, plan = one_plan(options)
        settings_of(options, config, plan.pace)
        return [(config, {plan.method: plan})]
    wanted = configs(options)
    for config in wanted:
        settings_of(options, config)
    names = (options.partition or ALL).split(",")
    return [(config, named_plans(options, config, names)) for config in wanted]


def _verified(
    options: VerifyOptions, config: Config, plans: dict[str, Plan], cores: tuple[int, ...], session: "Session"
) -> Verification:
    settings = settings_of(options, config, next(iter(plans.values())).pace)
    every = settings.pace.update_every
    minibatches = options.batches or max(MINIBATCHES, 2 * every + 1)
    agree_on_plan(session, next(iter(plans.values())), replace(config, batches=minibatches), settings)
    names = list(plans)
    first = distinct(list(plans.values()))
    steps = len(set(first)) * (minibatches + 1)
    parts: dict[str, PartitionVerification] = {}
    with (
        runtime.pipeline.pool_of(cores, options.stall_timeout_s, session) as pool,
        runtime.pipeline.executions_of(config, plans.values(), pool, settings, session=session) as executions,
        progress(config.name, steps) as advance,
        profiler.machine.pinned(cores[0]),
    ):
        for index in sorted(set(first)):
            name = names[index]
            parts[name] = runtime.verify.verify(
                name, plans[name], executions[plans[name].form], minibatches, partial(advance, 1, name)
            )
    verification = Verification(
        model=config.name,
        batch_size=config.batch_size,
        input_shape=config.input_shape,
        minibatches=minibatches,
        num_stages=len(next(iter(plans.values())).stages),
        schedule=settings.pace.name,
        update_every=every,
        channel=settings.channel,
        seed=settings.seed,
        partitions=tuple(replace(parts[names[at]], name=name) for name, at in zip(names, first, strict=True)),
    )
    if session.leads and not options.json:
        show_verification(verification, stdout())
    return verification


def show_verification(verification: Verification, console: "Console") -> None:
    """Print one line for each partition: identical, or where it parts from its replay."""
    flush = f", an update every {verification.update_every}" if verification.update_every > 1 else ""
    console.print(
        f"{verification.model}, {counted(verification.num_stages, 'stage')}, {verification.schedule}{flush}, "
        f"{verification.channel}: {counted(verification.minibatches, 'minibatch')} in the pipeline and in one process; "
        "behind each, how the sha256 of the weights begins"
    )
    width = max(len(part.name) for part in verification.partitions)
    for part in verification.partitions:
        verdict = "bit-identical: losses, weights, buffers"
        if part.first_difference:
            verdict = f"DIFFERS: {part.first_difference}"
        console.print(f"{part.name:{width}}  {verdict}  {part.digests.weights[:12]}", soft_wrap=True)
