"""Parse what was typed: a complaint is one sentence with a near match."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from profiler.errors import suggest


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence.

    Attributes:
        examples: What could be typed, without the command's name; a parser of commands has none.
    """

    def __init__(self, *, examples: Sequence[str] = (), **how: Any) -> None:
        """Make a parser without options."""
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **how)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # -3s, too, is a value, and is refused as one
        self.examples = examples

    def error(self, message: str) -> NoReturn:
        """Print the complaint and exit with 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse, and refuse what is not known, with a near match."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            near = suggest(unknown[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return options, unknown
