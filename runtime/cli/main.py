"""``python -m runtime``: run plans in a real pipeline, compare partitions, and verify what they train."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from profiler.cli import Parser, add_options, execute
from profiler.commands import MODULES, command, typed_as
from runtime.cli import compare, run, train, verify


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it is for, its options, what carries it out, and examples of what could be typed."""

    help: str
    options: type[Any]
    run: Callable[[Any], int]
    examples: tuple[str, ...]


COMMANDS = {
    "compare": Command(
        "time the best split against others", compare.CompareOptions, compare.compare_all,
        ("--model resnet50 --quick", "--model alexnet vgg16 --stages 2 --repeats 6"),
    ),
    "run": Command(
        "run one plan", run.RunOptions, run.run, ("--model resnet50", "--plan plan.json --trace timeline.svg"),
    ),
    "train": Command(
        "train a model over epochs, and keep its weights", train.TrainOptions, train.train,
        ("--plan plan.json --data mypackage.data:loader", "--config mine.yaml --epochs 10"),
    ),
    "verify": Command(
        "hold pipelines against a single-process replay, bit for bit", verify.VerifyOptions, verify.verify_all,
        ("--model alexnet --stages 2", "--plan plan.json"),
    ),
}  # fmt: skip


@typed_as(MODULES)
def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = Parser(prog=command(), description="Train a model in a pipeline of one-core stages.")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar=" | ".join(COMMANDS), parser_class=Parser
    )  # fmt: skip
    for name, own in COMMANDS.items():
        about = f"{own.help[0].upper()}{own.help[1:]}."
        add_options(commands.add_parser(name, help=own.help, description=about, examples=own.examples), own.options)
    namespace = parser.parse_args(argv)
    chosen = COMMANDS[namespace.command]
    return execute(namespace, chosen.options, chosen.run)
