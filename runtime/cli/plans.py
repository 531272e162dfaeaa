"""What is to be run: from options to a profile, with layers cut inside, and to the plans of the named partitions."""

from dataclasses import replace
from pathlib import Path

from optimizer.cli import planned_models, plans_of, wanted_names
from optimizer.plan import Plan
from optimizer.planning import (
    LOWERED,
    OPTIMIZED,
    SLICED,
    load_schemes,
    names_layers,
)
from profiler.cli import configs, note, settled_precision
from profiler.commands import command
from profiler.errors import ConfigError
from profiler.files import read_json
from profiler.profile import AUTO, NONE
from profiler.report import counted
from profiler.settings import Config
from profiler.settings import config as configuration
from runtime.cli.options import RankOptions, RunningOptions, settings_of


def named_plans(options: RunningOptions, config: Config, partitions: list[str]) -> dict[str, Plan]:
    """Return the plans of the partitions that are named, such as ``all``; what the model does not allow is said."""
    schemes = load_schemes()
    names = wanted_names(partitions, config, schemes)
    pace = options.pace(config.stages)
    models = planned_models(config, pace, names, note, budget_s=options.budget_s)
    return plans_of(models, names, schemes, note)


def one_plan(options: RankOptions, *, trains: bool = False) -> tuple[Config, Plan]:
    """Return the plan to run and the configuration that goes with it.

    Args:
        options: Those of the command.
        trains: Whether it trains on any number of minibatches, so that the plan is for as many as are usual.
    """
    if options.plan:
        return _read(options, options.plan)
    if not options.model and not options.config:
        raise ConfigError("nothing to run is named; add --plan plan.json, or --model resnet50, say")
    wanted = configs(options)
    if len(wanted) > 1:
        raise ConfigError("run takes one model; compare takes several")
    settings_of(options, wanted[0])  # before anything is measured
    usual = SLICED if names_layers(wanted[0].slice) else OPTIMIZED
    chosen = options.partition or (LOWERED if wanted[0].precision == AUTO else usual)
    if len(wanted_names([chosen], wanted[0], load_schemes())) > 1:
        raise ConfigError("run takes one partition; compare takes several")
    planned_for = replace(wanted[0], batches=None) if trains else wanted[0]
    (plan,) = named_plans(options, planned_for, [chosen]).values()
    return wanted[0], plan


def refuse_without_plan(options: RankOptions) -> None:
    """Refuse to let ranks of torchrun plan for themselves, or share memory."""
    if options.channel == "shm":
        raise ConfigError("ranks of torchrun cannot meet in shared memory; leave out --channel shm")
    if not options.plan:
        typed = configs(options)[0].typed if options.model or options.config else ()
        raise ConfigError(
            "every rank of torchrun needs the same plan; make one with "
            f"{command('plan', '-o', 'plan.json', *typed)}, and name it with --plan"
        )


def _read(options: RankOptions, path: Path) -> tuple[Config, Plan]:
    sizes = any((options.batch_size, options.image_size, options.sample_shape, options.vocabulary))
    sizes |= options.slice is not None or options.precision is not None
    if options.model or options.partition or sizes:
        raise ConfigError("--plan names model, batch, split, slices and precision; leave out --model, --partition, "
                          "--slice, --precision and the sizes")  # fmt: skip
    if options.budget_s:
        raise ConfigError("--budget is for measuring a profile, and --plan needs none; leave one of the two out")
    plan = read_json(path, Plan)
    if options.stages not in (None, len(plan.stages)):
        raise ConfigError(f"{path} has {counted(len(plan.stages), 'stage')}; leave out --stages {options.stages}")
    changes = {
        "batch_size": plan.batch_size,
        "sample_shape": plan.input_shape[1:],
        "vocabulary": plan.vocabulary or None,
        "slice": str(plan.slicing) or NONE,
        "precision": plan.precision,
        "stages": len(plan.stages),
        "batches": options.batches,
        "cores": options.cores,
        "data": options.data,
    }
    named = configuration.load(options.config) if options.config else configuration.for_model(plan.model)
    config = settled_precision(configuration.override(named, changes))
    if config.name != plan.model:
        raise ConfigError(f"{path} is for {plan.model} and {options.config} for {config.name}; name a plan of the same")
    if config.rule.momenta != plan.momenta:
        raise ConfigError(
            f"{path} was planned for an update rule that keeps {counted(plan.momenta, 'tensor')} for each weight, "
            f"and {config.rule.kind} keeps {config.rule.momenta}; name the --config FILE it was made with"
        )
    return config, plan
