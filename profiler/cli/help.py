"""Lay out ``--help``: options under a few headings, a line each, and at the end examples to copy."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
