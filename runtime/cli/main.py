"""``python -m runtime``: run plans in a real pipeline, compare partitions, and verify what they train."""

import argparse
from pathlib import Path

from optimizer.planning import OPTIMIZED
from profiler.cli import Parser, add_common, add_models, execute, positive
from runtime.cli.options import add_rank_timeout, add_ranks, add_running

COMMANDS = "compare | run | verify | links | report"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog="python -m runtime", description="Train a model in a pipeline of one-core stages.")
    commands = parser.add_subparsers(dest="command", required=True, metavar=COMMANDS, parser_class=Parser)
    several = commands.add_parser("compare", help="run partitions in turn and compare them")
    several.add_argument(
        "--partitions", metavar="P,…", help="optimized, schemes by name, study, or all (default: as configured)"
    )
    several.add_argument("--repeats", type=positive, metavar="N", help="runs of each partition")
    several.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of comparison.json, report.html and report.md; each of several comparisons has one below it "
        "(default: results/)",
    )
    several.add_argument("--baselines", action="store_true", help="run what one would run instead, too")
    several.add_argument(
        "--audit", action="store_true", help="let evenly spaced splits join until there are ten distinct ones"
    )
    several.add_argument(
        "--quick", action="store_true", help="a short version: one round of few minibatches at the smallest batch size"
    )
    several.add_argument("--fresh", action="store_true", help="measure anew what is there already")
    add_running(several, on_nan="warn")
    one = commands.add_parser("run", help="run one plan")
    add_ranks(one)
    one.add_argument("--partition", metavar="P", help=f"partition of --model (default: {OPTIMIZED})")
    one.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the run's result here")
    one.add_argument(
        "--trace", type=Path, action="append", default=[], metavar="FILE",
        help="write the timeline: .json for Perfetto, .svg for a picture; may be given twice",
    )  # fmt: skip
    add_running(one, on_nan="stop")
    held = commands.add_parser("verify", help="hold pipelines against a single-process replay, bit for bit")
    add_ranks(held)
    held.add_argument("--partition", metavar="P,…", help="optimized, schemes by name, or all (default: all)")
    add_running(held, on_nan="warn")
    wired = commands.add_parser("links", help="measure ranks and the network between them, under torchrun")
    add_models(wired, "torchvision model, or package.module:factory")
    add_rank_timeout(wired)
    wired.add_argument(
        "-o", "--output", type=Path, default=Path("links.json"), metavar="FILE", help="where to (default: links.json)"
    )
    add_common(wired)
    wired.set_defaults(stall_timeout=None, batches=None, repeats=None)
    shown = commands.add_parser("report", help="render comparisons as one page, again and again")
    shown.add_argument(
        "comparison", type=Path, nargs="+", metavar="FILE_OR_DIR", help="comparison.json, or a folder of them"
    )
    shown.add_argument(
        "-o", "--output", type=Path, action="append", default=[], metavar="FILE", help="report.html, or report.md"
    )
    shown.add_argument("--quiet", action="store_true", help="print nothing")
    shown.add_argument("--debug", action="store_true", help="show where an error came from")
    for command, function in (
        (several, _compare),
        (one, _run),
        (held, _verify),
        (wired, _links),
        (shown, _report),
    ):
        command.set_defaults(function=function)
    return execute(parser, lambda options: int(options.function(options)), argv)


def _compare(options: argparse.Namespace) -> int:
    from runtime.cli.compare import compare_all
    from runtime.cluster import refuse_ranks

    refuse_ranks("compare")
    return compare_all(options)


def _run(options: argparse.Namespace) -> int:
    from runtime.cli.run import run

    return run(options)


def _report(options: argparse.Namespace) -> int:
    from runtime.cli.report import report_all

    return report_all(options)


def _links(options: argparse.Namespace) -> int:
    from runtime.cli.links import links

    return links(options)


def _verify(options: argparse.Namespace) -> int:
    from runtime.cli.verify import verify_all

    return verify_all(options)
