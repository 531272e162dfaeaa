"""``python -m optimizer check PLAN PROFILE``: verify a plan without the search that found it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import optimizer.check
import optimizer.plan
import optimizer.planning
import profiler.cli
import profiler.profile
from optimizer.errors import OptimizerError
from optimizer.plan import Plan
from optimizer.schedule import PLAIN_1F1B
from profiler.cli import Options, Parser, add_options, argument, execute, switch
from profiler.commands import command
from profiler.files import read_json
from profiler.profile import AUTO, FP32

SIGNS = {True: "ok", False: "WRONG", None: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions(Options):
    """The options of ``python -m optimizer check``."""

    plan: Annotated[Path, argument("plan that python -m optimizer -o wrote", type=Path, metavar="PLAN")]
    profile: Annotated[Path, argument("profile that it was made for", type=Path, metavar="PROFILE")]
    json: Annotated[bool, switch("print the findings as JSON", under="output")] = False


def main(argv: list[str]) -> int:
    """Run the command and return its exit code: 0 if nothing was found wrong, 1 if something was."""
    parser = Parser(
        prog=command("check"), description="Verify a plan without the search that found it.",
        examples=("plan.json profiles/resnet50-b4-128.json",),
    )  # fmt: skip
    add_options(parser, CheckOptions)
    return execute(parser.parse_args(argv), CheckOptions, check_plan)


def check_plan(options: CheckOptions) -> int:
    """Check the plan and print what was found."""
    plan = read_json(options.plan, Plan)
    if plan.network:
        raise OptimizerError(f"{options.plan} is for measured links, which check does not know; plan without --links")
    model = profiler.profile.read_profile(options.profile).costs(plan.form)
    if optimizer.planning.digest_of(model) != plan.profile_digest:
        raise OptimizerError(
            f"{options.plan} was made for another profile than {options.profile}, whose digest differs; name that one, "
            f"or plan anew with {_anew(plan, options)}"
        )
    findings = optimizer.check.check(plan, model)
    if options.json:
        profiler.cli.emit_json([findings])
    elif not profiler.cli.screen().quiet:
        for finding in findings:
            profiler.cli.stdout().print(f"{SIGNS[finding.holds]:8} {finding.text}", soft_wrap=True)
    return 0 if optimizer.check.holds(findings) else 1


def _anew(plan: Plan, options: CheckOptions) -> str:
    """Return the command that plans for the profile at hand what the plan was for."""
    pace = plan.planned_for
    shared = pace.update_every if pace.update_every > 1 else None
    return command(
        "plan", profile=options.profile, stages=len(plan.stages), schedule=pace.name if pace != PLAIN_1F1B else None,
        flush_every=shared if pace.flush_every else None, accumulate=None if pace.flush_every else shared,
        precision=None if plan.precision == FP32 else AUTO, o=options.plan,
    )  # fmt: skip
