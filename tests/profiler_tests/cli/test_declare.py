"""Options are declared once: what is declared parses as a parser that is written by hand does."""

import argparse
from dataclasses import dataclass
from typing import Annotated, ClassVar, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.cli.planning_options import PlanOptions
from profiler.cli.declare import Declared, Options, add_options, argument, option, parsed, switch
from profiler.cli.main import ProfileOptions
from profiler.cli.parser import Parser
from runtime.cli.main import COMMANDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Base(Options):
    HEADING: ClassVar[str] = "split"

    how_many: Annotated[int, option("some", type=int)] = 4
    out: Annotated[tuple[str, ...], option("where to", "-o", "--output", action="append")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Own(Base):
    place: Annotated[str, argument("where")]
    loud: Annotated[bool, switch("whether")] = False
    how_many: Annotated[int, option("at least", type=int)] = 7


def by_hand(words: list[str]) -> Own:
    parser = argparse.ArgumentParser()
    parser.add_argument("place")
    parser.add_argument("--loud", action="store_true")
    parser.add_argument("--how-many", type=int, default=7)
    parser.add_argument("-o", "--output", action="append", default=[])
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--debug", action="store_true")
    values = vars(parser.parse_args(words))
    return Own(**{"out": tuple(values.pop("output")), **values})


WORDS = st.lists(
    st.sampled_from([["--loud"], ["--how-many", "3"], ["-o", "a"], ["--output", "b"], ["--quiet"], ["--debug"]])
)


@given(WORDS)
def test_what_is_declared_parses_as_what_is_written_by_hand(words: list[list[str]]) -> None:
    typed = ["here", *(word for pair in words for word in pair)]
    parser = Parser()
    add_options(parser, Own)
    assert parsed(parser.parse_args(typed), Own) == by_hand(typed)


def test_what_is_declared_anew_stands_once_and_under_its_own_heading() -> None:
    parser = Parser(prog="it", description="Does it.", examples=["here", "there --loud"])
    add_options(parser, Own)
    assert parser.format_help().splitlines() == [
        "usage: it place [options]",
        "Does it.",
        "",
        "model and data:",
        "  place                    where",
        "",
        "split:",
        "  -o, --output             where to",
        "",
        "how to run:",
        "  --loud                   whether",
        "  --how-many               at least",
        "",
        "more (--help-all explains): --quiet, --debug",
        "",
        "example: it here",
        "example: it there --loud",
    ]
    every = parser.format_help(everything=True)
    assert "  --quiet                  no progress, notes or tables\n" in every


@pytest.mark.parametrize("kind", [ProfileOptions, PlanOptions, *(own.options for own in COMMANDS.values())])
def test_no_field_hides_the_function_that_parses_it(kind: type[Options]) -> None:
    hints = get_type_hints(kind, include_extras=True)
    declared = [each for hint in hints.values() for each in getattr(hint, "__metadata__", ())]
    assert declared
    assert all(isinstance(each, Declared) and callable(each.how.get("type", str)) for each in declared)
