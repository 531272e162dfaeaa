"""Declare a command's options once: as the annotated fields of the dataclass that they are parsed into."""

import argparse
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from inspect import get_annotations
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar, get_origin, get_type_hints

from profiler.errors import suggest

HEADINGS = ("model and data", "split", "how to run", "output", "more")
"""In the order in which they are shown."""
WIDTH = 79


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


@dataclass(frozen=True, slots=True)
class Declared:
    """How a field is typed on a command line.

    Attributes:
        words: The option, ``-o`` and ``--output``; nothing where it is written as its field is named: ``--batch-size``.
        by_place: Whether it is an argument that is known by its place, and has to be given.
        how: Further keywords of argparse's ``add_argument``.
        under: The heading of ``--help`` that it stands under; nothing for that of its class.
    """

    words: tuple[str, ...]
    by_place: bool
    how: Mapping[str, Any]
    under: str = ""


def option(text: str, *words: str, under: str = "", **how: Any) -> Declared:
    """Declare what is typed to set a field, and what it means.

    A field is ``stages: Annotated[int, option("pipeline stages", type=int)] = 4``.

    Args:
        text: What ``--help`` says about it.
        words: How it is written; without any, as the field is named.
        under: The heading of ``--help`` that it stands under; nothing for that of its class.
        how: Further keywords of argparse's ``add_argument``: ``metavar``, ``choices``, ``nargs``, ``action``, ``type``;
            its function must not be called as the field is, whose default would stand in its place.
    """
    return Declared(words, by_place=False, how={"help": text, **how}, under=under)


def switch(text: str, under: str = "") -> Declared:
    """Declare a field that is true where the option of its name is given."""
    return option(text, action="store_true", under=under)


def argument(text: str, **how: Any) -> Declared:
    """Declare a field for an argument that is known by its place, and has to be given."""
    return Declared((), by_place=True, how={"help": text, **how})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of every command.

    Attributes:
        HEADING: The heading of ``--help`` for a class's own options.
    """

    HEADING: ClassVar[str] = "more"

    quiet: Annotated[bool, switch("no progress, notes or tables")] = False
    debug: Annotated[bool, switch("show where an error came from")] = False

    @classmethod
    def settings(cls) -> Sequence[str]:
        """Return what only a configuration file sets."""
        return ()


OptionsT = TypeVar("OptionsT", bound=Options)


def add_options(parser: Parser, kind: type[Options]) -> None:
    """Add the options that ``kind`` declares, under their headings, and its settings and the examples below them."""
    groups = {heading: parser.add_argument_group(heading) for heading in HEADINGS}
    places = []
    for owner, declared in _by_class(kind):
        for name, each in declared.items():
            if each.by_place:
                groups[HEADINGS[0]].add_argument(name, **each.how)
                places.append(each.how["metavar"])
            else:
                heading = each.under or owner.__dict__.get("HEADING", HEADINGS[2])
                words = each.words or (f"--{name.replace('_', '-')}",)
                groups[heading].add_argument(*words, dest=name, **{"default": None, **each.how})
    parser.usage = " ".join(["%(prog)s", *places, "[options]"])
    settings = ", ".join(kind.settings())
    more = textwrap.wrap(f"settings of a --config FILE only: {settings}", WIDTH) if settings else []
    parser.epilog = "\n".join([*more, *(f"example: {parser.prog} {words}" for words in parser.examples)])


def _by_class(kind: type[Options]) -> Iterator[tuple[type[Any], dict[str, Declared]]]:
    """Yield each class with what it declares, without what has been declared anew."""
    hints = get_type_hints(kind, include_extras=True)
    left = {name: hint.__metadata__[0] for name, hint in hints.items() if get_origin(hint) is Annotated}
    for owner in kind.__mro__:
        yield owner, {name: left.pop(name) for name in get_annotations(owner) if name in left}


def parsed(namespace: argparse.Namespace, kind: type[OptionsT]) -> OptionsT:
    """Return what was parsed as options of type ``kind``: lists as tuples; what was not given has its default."""
    given = ((each.name, getattr(namespace, each.name, None)) for each in fields(kind))
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given if value is not None
    }
    return kind(**values)


def positive(text: str) -> int:
    """Parse a whole number from 1 up."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return number


def shape(text: str) -> tuple[int, ...]:
    """Parse a shape such as ``16,32``."""
    return tuple(positive(part) for part in text.split(","))


def duration(text: str) -> float:
    """Parse a time such as ``30s``, ``2m`` or ``45`` into seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in {"s", "m"} else (text, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60}[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time above 0 such as 30s or 2m")
    return seconds


def size(text: str) -> int:
    """Parse a size such as ``2GiB``, ``512MiB`` or ``4096B`` into bytes."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
    unit = next((unit for unit in units if text.endswith(unit)), None)
    try:
        count = float(text.removesuffix(unit)) * units[unit] if unit else 0.0
    except ValueError:
        count = 0.0
    if not 1 <= count <= 1 << 50:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size with its unit, such as 2GiB, 512MiB or 4096B")
    return int(count)


def core_list(text: str) -> tuple[int, ...]:
    """Parse a list of distinct cores such as ``0,1,2``."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = (-1,)
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of distinct cores such as 0,1,2,3")
    return numbers
