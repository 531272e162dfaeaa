"""Errors of the profiler; every message is a sentence for the person who typed the command."""

import difflib
from collections.abc import Iterable

NEAR = 0.7
"""How alike a word and a name have to be, of 1, for the name to be offered."""


class StageplanError(Exception):
    """The root of all errors that are told as one sentence.

    Attributes:
        exit_code: What a command exits with: 1 a run failed, 2 bad input, 3 no feasible plan.
    """

    exit_code = 1


class ProfilerError(StageplanError):
    """The root of the profiler's errors: by default, something that the user gave cannot be used."""

    exit_code = 2


class ConfigError(ProfilerError):
    """A configuration file, key or value cannot be used."""


class FileError(ProfilerError):
    """A file cannot be read or written, or is not what it should be."""


class ModelError(ProfilerError):
    """A model cannot be built from its name."""


class CaptureError(ProfilerError):
    """A model cannot be captured as a graph of layers."""


class ProcessError(ProfilerError):
    """The process cannot be set as timing and running need it."""


def one_line(error: BaseException) -> str:
    """Return what an exception says in one line, of signs that can be printed, with its kind where it says nothing."""
    return printable(next(iter(str(error).strip().splitlines()), "")).strip() or type(error).__name__


def printable(text: str) -> str:
    """Return text with a blank in the place of each sign that steers a terminal, the ends of lines left out."""
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)


def suggest(word: str, names: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` where a name is near ``word``, else nothing; dashes in front do not count."""
    choices = {name.lstrip("-"): name for name in names}
    bare, lower = word.lstrip("-"), word.lower().lstrip("-")
    near = [lower] if lower in choices else [
        name for typed in (bare, lower) for name in difflib.get_close_matches(typed, choices, n=1, cutoff=NEAR)
    ]  # fmt: skip
    return f" (did you mean '{choices[near[0]]}'?)" if near else ""
