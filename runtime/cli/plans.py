"""What is to be run: from options to a profile, with layers cut inside, and to the plans of the named partitions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import optimizer.planning
import optimizer.report
import profiler.capture
import profiler.machine
import profiler.measure
from optimizer.cli import measuring_blocks
from optimizer.plan import Plan
from optimizer.planning import (
    LOWERED,
    NONE,
    OPTIMIZED,
    SLICED,
    Schemes,
    form_request,
    load_schemes,
    names_layers,
    partition_names,
    slicing_named,
)
from profiler.cli import configs, fresh_profile, note, settled_precision
from profiler.commands import command
from profiler.errors import ConfigError
from profiler.files import read_json
from profiler.profile import AUTO, BF16, FP32
from profiler.report import counted
from profiler.settings import Config
from profiler.settings import config as configuration
from runtime.cli.options import RankOptions, RunningOptions, settings_of

if TYPE_CHECKING:
    from optimizer.planning import Forms


QUICK_BUDGET_S = 3.0
"""How long a quick profile measures."""


def planned_forms(
    options: RunningOptions, config: Config, names: Sequence[str], report: Callable[[str], None], *, quick: bool = False
) -> "Forms":
    """Return what plans ``config``, from the kept profile or one that is measured now, in short if ``quick``.

    Args:
        options: What was typed.
        config: The model, batch size and stages.
        names: The partitions that are wanted; layers are cut inside if ``sliced`` or ``bf16`` is among them.
        report: Told what was chosen of precision, and what was cut inside, if anything.
        quick: Whether a profile of few rounds will do.

    Raises:
        ModelError: There is no such model, or no such data.
    """
    if data := options.data or config.data:
        profiler.capture.find(data)  # before anything is measured
        config = replace(config, data=data)
    core = profiler.machine.usable_cores(config.cores)[0]
    if quick:
        folder = str(Path(config.profiles) / "quick")
        config = replace(config, profiles=folder, typed=(*config.typed, "--profiles", folder))
    budget_s = options.budget_s or (QUICK_BUDGET_S if quick else None)
    profile = fresh_profile(config, core, budget_s=budget_s)
    pace = options.schedule.pace(config.stages)
    slicing = config.slice if {SLICED, LOWERED} & set(names) else NONE
    precision = config.precision if LOWERED in names or config.precision != AUTO else FP32
    forms = optimizer.planning.forms_of(
        profile,
        partial(optimizer.planning.Planner, stages=config.stages, minibatches=config.minibatches, pace=pace),
        form_request(slicing, precision),
        stages=config.stages,
        pace=pace,
        measure=measuring_blocks(config, profile, profiler.measure.path_for(config), core),
    )
    for sentence in optimizer.report.form_sentences(forms, names)[0]:
        report(f"{config.name}: {sentence}.")
    return forms


def wanted_names(partitions: Sequence[str], config: Config, schemes: Schemes) -> list[str]:
    """Return the partitions that are named; of ``all``, ``sliced`` only where layers may be cut inside.

    Raises:
        ConfigError: ``sliced`` is named and ``--slice none``, or ``--slice`` says what it cannot, or nobody listens.
        PartitionError: There is no such partition.
    """
    slicing_named(config.slice)
    names = partition_names(partitions, schemes)
    if config.precision != AUTO:
        if LOWERED in partitions:
            raise ConfigError(f"the partition {LOWERED} is the best split in whatever precision is the fastest, which "
                              "--precision auto looks for where a core multiplies bfloat16; add that, or leave the "
                              "partition out")  # fmt: skip
        names = [name for name in names if name != LOWERED]
    if names_layers(config.slice) and not {SLICED, LOWERED} & set(names):
        raise ConfigError(f"--slice {config.slice} is of the partition sliced, which is not among {', '.join(names)}; "
                          "name it, too, or leave --slice out")  # fmt: skip
    if config.slice != NONE and config.stages > 1:
        return names
    if SLICED in partitions:
        raise ConfigError("the partition sliced cuts layers inside, and --slice none or one stage leaves them whole; "
                          "leave out one")  # fmt: skip
    return [name for name in names if name != SLICED]


def plans_of(forms: "Forms", names: list[str], schemes: Schemes, report: Callable[[str], None]) -> dict[str, Plan]:
    """Return the plans of some partitions; what the model does not allow is told to ``report``.

    Raises:
        ConfigError: The model allows none of them.
    """
    model = forms.whole.profile.model
    if names == [SLICED] and forms.sliced is None:
        assert forms.slicing
        raise ConfigError(f"{model}: {optimizer.planning.why_whole(forms.slicing)}; run the partition {OPTIMIZED}")
    if names == [LOWERED] and forms.lowered is None:
        assert forms.precision
        report(f"{model}: {optimizer.planning.why_full(forms.precision)}")
        names = [SLICED if forms.sliced else OPTIMIZED]
    plans = optimizer.planning.plans_for(names, forms, schemes, report)
    if not plans:
        raise ConfigError(f"{model} allows none of {', '.join(names)}; use fewer --stages")
    return plans


def named_plans(options: RunningOptions, config: Config, partitions: list[str]) -> dict[str, Plan]:
    """Return the plans of the partitions that are named, such as ``all``; what the model does not allow is said.

    Raises:
        ConfigError: The model allows none of them.
    """
    schemes = load_schemes()
    names = wanted_names(partitions, config, schemes)

    def report(sentence: str) -> None:
        note(sentence)

    return plans_of(planned_forms(options, config, names, report), names, schemes, report)


def one_plan(options: RankOptions) -> tuple[Config, Plan]:
    """Return the plan to run and the configuration that goes with it.

    Raises:
        ConfigError: Not exactly one plan is named.
    """
    common = options.running.common
    if options.plan:
        return _read(options, options.plan)
    if not common.model and not common.config:
        raise ConfigError("nothing to run is named; add --plan plan.json, or --model resnet50, say")
    wanted = configs(common)
    if len(wanted) > 1:
        raise ConfigError("run takes one model; compare takes several")
    settings_of(options.running, wanted[0])  # before anything is measured
    usual = SLICED if names_layers(wanted[0].slice) else OPTIMIZED
    chosen = options.partition or (LOWERED if wanted[0].precision == AUTO else usual)
    if len(wanted_names([chosen], wanted[0], load_schemes())) > 1:
        raise ConfigError("run takes one partition; compare takes several")
    (plan,) = named_plans(options.running, wanted[0], [chosen]).values()
    return wanted[0], plan


def refuse_without_plan(options: RankOptions) -> None:
    """Refuse to let ranks of torchrun plan for themselves, or share memory.

    Raises:
        ConfigError: They would.
    """
    if options.running.channel == "shm":
        raise ConfigError("ranks of torchrun cannot meet in shared memory; leave out --channel shm")
    if not options.plan:
        common = options.running.common
        typed = configs(common)[0].typed if common.model or common.config else ()
        raise ConfigError(
            "every rank of torchrun needs the same plan; make one with "
            f"{command('plan', '-o', 'plan.json', *typed)}, and name it with --plan"
        )


def _read(options: RankOptions, path: Path) -> tuple[Config, Plan]:
    common = options.running.common
    sizes = any((common.batch_size, common.image_size, common.sample_shape, common.vocabulary))
    sizes |= common.slice is not None or common.precision is not None
    if common.model or options.partition or sizes:
        raise ConfigError("--plan names model, batch, split, slices and precision; leave out --model, --partition, "
                          "--slice, --precision and the sizes")  # fmt: skip
    if options.running.budget_s:
        raise ConfigError("--budget is for measuring a profile, and --plan needs none; leave one of the two out")
    plan = read_json(path, Plan)
    if common.stages not in (None, len(plan.stages)):
        raise ConfigError(f"{path} has {counted(len(plan.stages), 'stage')}; leave out --stages {common.stages}")
    changes = {
        "batch_size": plan.batch_size,
        "sample_shape": plan.input_shape[1:],
        "vocabulary": plan.vocabulary or None,
        "slice": str(plan.slicing) or NONE,
        "precision": BF16 if plan.precision.lowered else FP32,
        "stages": len(plan.stages),
        "batches": common.batches,
        "cores": common.cores,
    }
    named = configuration.load(common.config) if common.config else configuration.for_model(plan.model)
    config = settled_precision(configuration.override(named, changes))
    if config.name != plan.model:
        raise ConfigError(f"{path} is for {plan.model} and {common.config} for {config.name}; name a plan of the same")
    if config.rule.momenta != plan.momenta:
        raise ConfigError(
            f"{path} was planned for an update rule that keeps {counted(plan.momenta, 'tensor')} for each weight, "
            f"and {config.rule.kind} keeps {config.rule.momenta}; name the --config FILE it was made with"
        )
    return config, plan
