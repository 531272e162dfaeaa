"""Parse what was typed: a complaint is one sentence with a near match, and help is one screen."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from profiler.cli.help import Listed, help_text
from profiler.errors import suggest


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence, and whose help is one screen.

    Attributes:
        examples: What could be typed, without the command's name; a parser of commands has none.
        places: The arguments that are known by their place, as ``--help`` calls them.
        listed: The options as ``--help`` lists them.
        settings: What only a configuration file sets.
        instead: What to do in the place of options that there are not.
    """

    def __init__(self, *, examples: Sequence[str] = (), **how: Any) -> None:
        """Make a parser without options."""
        super().__init__(**how)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # -3s, too, is a value, and is refused as one
        self.examples = examples
        self.places: list[str] = []
        self.listed: list[Listed] = []
        self.settings: Sequence[str] = ()
        self.instead: Mapping[str, str] = {}
        if examples:
            self.add_argument("--help-all", action=_HelpAll, nargs=0)

    def format_help(self, *, everything: bool = False) -> str:
        """Return the text of ``--help``; that of a parser of commands is argparse's."""
        if not self.examples:
            return super().format_help()
        usage = " ".join([self.prog, *self.places, "[options]"])
        examples = [f"{self.prog} {words}" for words in self.examples]
        return help_text(usage, self.description or "", self.listed, self.settings, examples, everything=everything)

    def error(self, message: str) -> NoReturn:
        """Print the complaint and exit with 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse, and refuse what is not known, with a near match."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            instead = f"; {self.instead[flag]}" if flag in self.instead else suggest(flag, self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{instead}")
        return options, unknown


class _HelpAll(argparse.Action):
    """Prints the help with every option explained."""

    def __call__(self, parser: argparse.ArgumentParser, *_given: object, **_more: object) -> NoReturn:
        assert isinstance(parser, Parser)
        sys.stdout.write(parser.format_help(everything=True))
        parser.exit()
