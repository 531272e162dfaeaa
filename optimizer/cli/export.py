"""``python -m optimizer export PLAN --to torch-pipelining``: a plan for users of another engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import optimizer.export
import profiler.capture
import profiler.execution
from optimizer.plan import Plan
from profiler.cli import Options, Parser, add_options, argument, emit_json, execute, note, option, switch
from profiler.commands import command
from profiler.errors import ConfigError
from profiler.files import read_json, write_whole
from profiler.output_files import refuse_unwritable
from profiler.profile import FP32
from profiler.report import counted
from profiler.settings import config as configuration

TORCH_PIPELINING = "torch-pipelining"
SCRIPT = "train.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions(Options):
    """The options of ``python -m optimizer export``."""

    plan: Annotated[Path, argument("plan that python -m optimizer -o wrote", type=Path, metavar="PLAN")]
    to: Annotated[str, option("the engine: torch.distributed.pipelining", required=True, choices=(TORCH_PIPELINING,))]
    config: Annotated[Path | None, option("configuration with the update rule", type=Path, metavar="FILE")] = None
    output: Annotated[
        Path | None,
        option("write the script here (stdout)", "-o", "--output", under="output", type=Path, metavar="FILE"),
    ] = None
    json: Annotated[bool, switch("print each stage's modules, and the script", under="output")] = False


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    parser = Parser(
        prog=command("export"), description="Write a plan as a program for another engine.",
        examples=(f"plan.json --to {TORCH_PIPELINING} -o train.py",),
    )  # fmt: skip
    add_options(parser, ExportOptions)
    return execute(parser.parse_args(argv), ExportOptions, export_plan)


def export_plan(options: ExportOptions) -> int:
    """Write the plan as a program for the other engine."""
    plan = read_json(options.plan, Plan)
    if plan.slicing:
        raise ConfigError(
            f"{options.plan} cuts layers inside ({plan.slicing}), which torch.distributed.pipelining cannot; plan with "
            "--slice none"
        )
    if plan.precision.lowered:
        raise ConfigError(
            f"{options.plan} runs layers in {plan.precision.words}, and the script trains in {FP32}; plan "
            f"with --precision {FP32}"
        )
    config = configuration.load(options.config) if options.config else configuration.for_model(plan.model)
    if config.name != plan.model:
        raise ConfigError(
            f"{options.plan} is for {plan.model} and {options.config} for {config.name}; name a plan of the same"
        )
    if config.rule.clip or config.rule.clip_norm or config.loss:
        raise ConfigError("the script trains for cross-entropy and clips no gradients; leave loss, clip and clip_norm "
                          "out of the configuration")  # fmt: skip
    if options.output:
        refuse_unwritable(options.output, "script", "-o")
    name = options.output.name if options.output else SCRIPT
    script = optimizer.export.pipelining_script(
        plan, config, name, seed=profiler.capture.SEED, auxiliary_weight=profiler.execution.AUXILIARY_WEIGHT
    )
    modules = optimizer.export.module_names(plan.split)
    for number, (names, stage) in enumerate(zip(modules, plan.stages, strict=True)) if not options.json else ():
        note(f"stage {number} ({counted(len(stage.layers), 'layer')}): {', '.join(names)}")
    if options.output:
        write_whole(options.output, script.encode())
        note(f"{plan.model}: written to {options.output}")
    if options.json:
        emit_json([{"stages": modules, "script": script}])
    elif not options.output:
        print(script, end="")  # noqa: T201 - the result of the command
    return 0
