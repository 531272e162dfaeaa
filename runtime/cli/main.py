"""``python -m runtime``: run plans in a real pipeline, compare partitions, and verify what they train."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from profiler.cli import Parser, add_options, execute
from profiler.commands import MODULES, command, typed_as
from runtime.cli import compare, links, report, run, train, verify


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it is for, its options, and what carries it out."""

    help: str
    options: type[Any]
    run: Callable[[Any], int]


COMMANDS = {
    "compare": Command("run partitions in turn and compare them", compare.CompareOptions, compare.compare_all),
    "run": Command("run one plan", run.RunOptions, run.run),
    "train": Command("train a model over epochs, and keep its weights", train.TrainOptions, train.train),
    "verify": Command(
        "hold pipelines against a single-process replay, bit for bit", verify.VerifyOptions, verify.verify_all
    ),
    "links": Command("measure ranks and the network between them, under torchrun", links.LinksOptions, links.links),
    "report": Command("render comparisons as one page, again and again", report.ReportOptions, report.report_all),
}


@typed_as(MODULES)
def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog=command(), description="Train a model in a pipeline of one-core stages.")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar=" | ".join(COMMANDS), parser_class=Parser
    )  # fmt: skip
    for name, own in COMMANDS.items():
        add_options(commands.add_parser(name, help=own.help), own.options)
    namespace = parser.parse_args(argv)
    chosen = COMMANDS[namespace.command]
    return execute(namespace, chosen.options, chosen.run)
