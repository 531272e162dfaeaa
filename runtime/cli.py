"""``python -m runtime``: run plans in a real pipeline, compare partitions, and verify what they train."""

import argparse
from pathlib import Path

from optimizer.partitions import OPTIMIZED
from profiler.command import Parser, execute, positive
from runtime.options import add_running

COMMANDS = "compare | run | verify"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="python -m runtime", description="Train a model in a pipeline of one-core stages.")
    commands = parser.add_subparsers(dest="command", required=True, metavar=COMMANDS, parser_class=Parser)
    several = commands.add_parser("compare", help="run partitions in turn and compare them")
    several.add_argument(
        "--partitions", metavar="P,…", help="optimized, schemes by name, or all (default: as configured)"
    )
    several.add_argument("--repeats", type=positive, metavar="N", help="runs of each partition")
    several.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of comparison.json; one below it for each of several models (default: results/)",
    )
    add_running(several, on_nan="warn")
    one = commands.add_parser("run", help="run one plan")
    one.add_argument("--plan", type=Path, metavar="FILE", help="plan that python -m optimizer -o wrote")
    one.add_argument("--partition", metavar="P", help=f"partition of --model (default: {OPTIMIZED})")
    one.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the run's result here")
    one.add_argument(
        "--trace", type=Path, action="append", default=[], metavar="FILE",
        help="write the timeline: .json for Perfetto, .svg for a picture; may be given twice",
    )  # fmt: skip
    add_running(one, on_nan="stop")
    held = commands.add_parser("verify", help="hold pipelines against a single-process replay, bit for bit")
    held.add_argument("--partition", metavar="P,…", help="optimized, schemes by name, or all (default: all)")
    add_running(held, on_nan="warn")
    for command, function in ((several, _compare), (one, _run), (held, _verify)):
        command.set_defaults(function=function)
    return execute(parser, lambda options: int(options.function(options)), argv)


def _compare(options: argparse.Namespace) -> int:
    from runtime.compare_command import compare_all

    return compare_all(options)


def _run(options: argparse.Namespace) -> int:
    from runtime.run_command import run

    return run(options)


def _verify(options: argparse.Namespace) -> int:
    from runtime.verify_command import verify_all

    return verify_all(options)
