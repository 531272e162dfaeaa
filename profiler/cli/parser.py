"""Parse what was typed: a complaint is one sentence with a near match, and ``--help`` is one screen."""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from profiler.errors import suggest

HEADINGS = ("model and data", "split", "how to run", "output", "more")
"""In the order in which they are shown; the last one's options are only named, unless all is asked for."""
WIDTH = 79
_TEXT_AT = 27


@dataclass(frozen=True, slots=True)
class Listed:
    """An option as it is listed: ``-o, --output FILE`` and what it means."""

    heading: str
    flags: str
    text: str


def help_text(
    usage: str,
    description: str,
    listed: Sequence[Listed],
    settings: Sequence[str],
    examples: Iterable[str],
    *,
    everything: bool,
) -> str:
    """Return the whole text.

    Args:
        usage: What is typed.
        description: What the command does, in a sentence.
        listed: Its options.
        settings: Keys that only a configuration file has.
        examples: Commands to copy.
        everything: Whether the last heading's options are explained, too.
    """
    lines = [f"usage: {usage}", *textwrap.wrap(description, WIDTH)]
    for heading in HEADINGS:
        own = [each for each in listed if each.heading == heading]
        if own and heading == HEADINGS[-1] and not everything:
            names = ", ".join(each.flags.replace(" ", "\N{NO-BREAK SPACE}") for each in own)
            text = textwrap.wrap(f"more (--help-all explains): {names}", WIDTH, break_on_hyphens=False)
            lines += ["", *(line.replace("\N{NO-BREAK SPACE}", " ") for line in text)]
        elif own:
            lines += ["", f"{heading}:", *(line for each in own for line in _lines(each))]
    if settings:
        lines += ["", *textwrap.wrap(f"more settings, in a --config FILE only: {', '.join(settings)}", WIDTH)]
    lines += ["", *(f"example: {example}" for example in examples)]
    return "\n".join(lines).rstrip() + "\n"


def _lines(each: Listed) -> list[str]:
    """Return an option's line, or lines where its text is long."""
    left, first = " " * _TEXT_AT, f"  {each.flags}"
    text = textwrap.wrap(each.text, WIDTH - _TEXT_AT)
    if len(first) + 2 > _TEXT_AT:
        return [first, *(f"{left}{line}" for line in text)]
    return [f"{first:<{_TEXT_AT}}{text[0]}", *(f"{left}{line}" for line in text[1:])]


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
