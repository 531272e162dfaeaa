"""``python -m runtime verify``: hold pipelines against single-process replays, bit for bit."""

import argparse
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from optimizer.plan import Plan
from optimizer.planning import ALL, distinct, load_schemes, partition_names
from optimizer.schedule import flush_width
from profiler.cli import configs, emit_json, progress, stdout
from profiler.settings import Config
from runtime.cli.options import cores_of, launcher_of, one_plan, plans_of, pool_of, settings_of
from runtime.cluster import joined, refuse_without_plan
from runtime.pipeline import agree_on_plan
from runtime.results import PartitionVerification, Verification

if TYPE_CHECKING:
    from runtime.cluster import Session

MINIBATCHES = 8
"""Enough for every slot and weight version of four stages to be used again, where no flush takes longer."""
FAILED = 1


def verify_all(options: argparse.Namespace) -> int:
    """Verify the plan, or the partitions of every model that is named; exit code 1 says that one differs."""
    with joined(options) as session:
        return _verify_all(options, session)


def _verify_all(options: argparse.Namespace, session: "Session | None") -> int:
    if session:
        refuse_without_plan(options)
    wanted, plans = _given(options)
    cores = cores_of(options, next(iter(plans[0].values())).layout.size)
    found = [_verified(options, config, own, cores, session) for config, own in zip(wanted, plans, strict=True)]
    if options.json:
        emit_json(found)
    return 0 if all(part.identical for one in found for part in one.partitions) else FAILED


def _given(options: argparse.Namespace) -> tuple[list[Config], list[dict[str, Plan]]]:
    """Return what is to be verified, each with its configuration: the plan that is named, or partitions by name."""
    if options.plan:
        config, plan = one_plan(options)
        settings_of(options, config)
        return [config], [{plan.method: plan}]
    schemes = load_schemes()
    names = partition_names((options.partition or ALL).split(","), schemes)
    wanted = configs(options)
    for config in wanted:
        settings_of(options, config)
    return wanted, [plans_of(options, config, names, schemes) for config in wanted]


def _verified(
    options: argparse.Namespace,
    config: Config,
    plans: dict[str, Plan],
    cores: tuple[int, ...],
    session: "Session | None",
) -> Verification:
    from profiler.machine import pinned
    from runtime.verify import show_verification, verify

    settings = settings_of(options, config, record_digests=True)
    width = flush_width(settings.schedule, settings.flush_every)
    minibatches = options.batches or max(MINIBATCHES, 2 * (width or 0) + 1)
    if session:
        agree_on_plan(session, next(iter(plans.values())), replace(config, batches=minibatches), settings)
    names = list(plans)
    first = distinct(list(plans.values()))
    steps = len(set(first)) * (minibatches + 1)
    parts: dict[str, PartitionVerification] = {}
    with (
        pool_of(options, cores, session) as pool,
        launcher_of(options, config, pool, settings, session=session) as launcher,
        progress(config.model, steps, quiet=options.quiet) as advance,
        pinned(cores[0]),
    ):
        for index in sorted(set(first)):
            name = names[index]
            parts[name] = verify(name, plans[name], launcher, minibatches, partial(advance, 1, name))
        shape = launcher.data_spec(minibatches).shape
    verification = Verification(
        model=config.model,
        batch_size=config.batch_size,
        input_shape=shape,
        minibatches=minibatches,
        num_stages=len(next(iter(plans.values())).stages),
        schedule=settings.schedule,
        flush_every=width,
        channel=settings.channel,
        seed=settings.seed,
        partitions=tuple(replace(parts[names[at]], name=name) for name, at in zip(names, first, strict=True)),
    )
    if not options.json and (session is None or session.leads):
        show_verification(verification, stdout())
    return verification
