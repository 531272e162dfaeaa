"""What is said of a comparison in words: who won, whether it is noise, and what casts doubt on it."""

import io
import random
import re
import shlex
from dataclasses import replace

import pytest
from comparisons import asked, comparison
from rich.console import Console

from runtime.compare import Comparison
from runtime.report import show_leaders
from runtime.report.findings import (
    advice,
    answer,
    fairness,
    insight,
    largest_layer,
    not_these_cores,
    worth,
)
from runtime.report.warnings import FIRM, comparison_doubts, firmness, remedy, repeated


def said_of(**speeds: tuple[float | None, ...]) -> str:
    return answer(comparison({name.replace("_", "-"): values for name, values in speeds.items()}))


def measured(seed: int, **speeds: float) -> Comparison:
    """Six rounds each, of 1% noise."""
    numbers = random.Random(seed)  # noqa: S311 - no secret
    return comparison({name.replace("_", "-"): [speed * numbers.gauss(1, 0.01) for _ in range(6)]
                       for name, speed in speeds.items()})  # fmt: skip


def test_the_answer_is_the_fastest_and_how_far_it_is_ahead_of_the_next() -> None:
    said = said_of(optimized=(30.0, 30.0, 30.3), middle_load=(20.0, 20.0, 20.0), end_load=(10.0, 10.0, 10.0))
    assert re.fullmatch(r"optimized is the fastest: 50% faster than middle-load \(\d\d to \d\d%\), the next\.", said)
    twice = said_of(optimized=(2.0, 2.0), end_load=(1.0, 1.0))
    assert re.fullmatch(
        r"optimized is the fastest: 2\.0 times as fast as end-load \(1\.\d to 2\.\d\), the next\.", twice
    )
    assert said_of(optimized=(2.0, 2.0)) == "optimized, the only split: 2.0 samples/s."
    assert said_of(optimized=(None,), end_load=(None,)) == "No split came through."


def test_a_tie_is_no_victory_and_a_defeat_is_said() -> None:
    tie = said_of(optimized=(10.0, 10.1, 10.0, 10.1) * 2, end_load=(10.1, 10.0, 10.1, 10.0) * 2, middle_load=(5.0,) * 8)
    assert tie.startswith("optimized and end-load are too close to tell apart; optimized is 2.0 times as fast as mid")
    near = said_of(optimized=(10.0, 10.6), end_load=(9.9, 9.9))
    assert near.startswith("optimized leads: 4% faster than end-load (-"), "two rounds leave it open"
    lost = said_of(optimized=(1.0, 1.0), end_load=(2.0, 2.0))
    assert lost.startswith("end-load is the fastest: 2.0 times as fast as optimized")


def test_an_answer_is_firm_where_all_others_are_slower_beyond_doubt() -> None:
    assert firmness(measured(1, optimized=20.0, end_load=10.0)) == FIRM
    few = comparison({"optimized": (20.0, 20.1), "end-load": (10.0, 10.1)})
    assert (firmness(few), remedy(few)) == (FIRM, ""), "two rounds are enough"
    near = comparison({"optimized": (10.0, 11.0, 10.2), "end-load": (10.5, 10.4, 10.1)}, repeats=3)
    more = near.ranking.more_rounds
    assert firmness(near) == f"NOT FIRM: end-load or optimized may be faster; about {more} more rounds would tell."
    assert remedy(near) == f"python -m runtime compare --repeats {3 + more}"
    assert firmness(comparison({"optimized": (10.0, 10.1) * 4, "end-load": (10.1, 10.0) * 4})) == FIRM, "a firm tie"
    lost = {"optimized": (20.0, 20.0, 20.1), "end-load": (10.0, 10.1, None)}
    assert firmness(comparison(lost)) == FIRM, "a split failed that is slower beyond doubt"
    hurt = comparison({"optimized": (20.0, 20.0, 20.1), "end-load": (None, None, None)})
    assert firmness(hurt) == "NOT FIRM: runs of end-load failed.", "and nothing says that it ever comes through"
    assert firmness(comparison(load=0.2)) == FIRM, "it is ahead by more than that could be"
    near = comparison({"optimized": (1.15,) * 6, "end-load": (1.0,) * 6}, load=0.2)
    assert firmness(near) == "NOT FIRM: core 1 worked for others 20% of the time."
    assert remedy(near) == "python -m runtime compare --fresh"


def test_the_command_that_makes_it_firm_has_each_option_once() -> None:
    more = ("--repeats", "6")
    assert repeated("python -m runtime compare --model a --repeats 3 --fresh", more) == (
        "python -m runtime compare --model a --repeats 6"
    )
    assert (
        repeated("stageplan compare --repeats=3 --model 'a b'", more) == "stageplan compare --model 'a b' --repeats 6"
    )
    assert repeated("stageplan compare --fresh --model a", ("--fresh",)) == "stageplan compare --model a --fresh"
    assert repeated("stageplan compare --model a", ()) == "stageplan compare --model a"
    assert repeated("stageplan.compare(Net(…), …)", more) == "stageplan.compare(Net(…), …, repeats=6)"


def test_every_doubt_has_a_name_a_cause_and_a_remedy() -> None:
    quiet = comparison({"optimized": (2.0,) * 6, "end-load": (1.0,) * 6})
    assert comparison_doubts(quiet) == []
    (noisy,) = comparison_doubts(comparison({"optimized": (2.0,) * 6, "end-load": (1.0,) * 6}, load=0.2))
    assert noisy.name == "NOISY"
    assert noisy.sentence.startswith("figures may be off by up to 20%: core 1 worked for others")
    assert not noisy.cause, "others cannot have made it look twice as fast"
    (noisy,) = comparison_doubts(comparison({"optimized": (1.15,) * 6, "end-load": (1.0,) * 6}, load=0.2))
    assert noisy.cause.startswith("core 1 worked for others")
    unfinished = comparison_doubts(asked(quiet, repeats=9))
    assert (unfinished[0].name, unfinished[0].cause) == ("PROVISIONAL", "only 6 of 9 rounds are done")
    failed = comparison_doubts(comparison({"optimized": (2.0, None, None), "end-load": (1.0, 1.0, 1.0)}))
    assert failed[0].name == "FAILED"
    assert failed[0].sentence.startswith("figures of optimized are of fewer rounds, or there are none: 2 runs failed")


def test_why_counting_layers_misleads() -> None:
    assert largest_layer(comparison()) == "The costliest of 4 layers, l3, takes 75% of a step."
    assert insight(comparison({"optimized": (2.0, 2.0)})) == "Why: the slowest stage has 75% of the time in optimized."


SLOW = {"optimized": (10.0, 10.0)}


@pytest.mark.parametrize(
    ("one_core", "plain", "pays", "last"),
    [
        (5.0, 8.0, "It pays to split: optimized is 2.0 times as fast as one core", "Train with optimized: train"),
        (6.0, 12.5, "It does not pay to split: optimized is 67% faster than one core",
         "Do not split: train with plain PyTorch, 2 threads, torch.set_num_threads(2)."),
        (20.0, 9.0, "It does not pay to split: ", "Do not split: train with one core, torch.set_num_threads(1)."),
        (9.6, 5.0, "Whether it pays to split is open: ", "Train with optimized: train"),
    ],
)  # fmt: skip
def test_what_one_would_run_instead_is_set_beside_and_a_loser_is_not_recommended(
    one_core: float, plain: float, pays: str, last: str
) -> None:
    found = comparison(SLOW, one_core=(one_core,) * 2, plain=(plain,) * 2)
    assert worth(found).startswith(pays)
    assert " and " in worth(found)
    assert advice(found, "train") == last


def test_a_long_command_is_pasted_in_lines_of_eighty() -> None:
    said = advice(
        comparison(SLOW, one_core=(5.0,) * 2), f"python -m runtime train --plan '{'a b' * 20}' --data {'x' * 30}"
    )
    _, *lines = said.splitlines()
    assert len(lines) > 1
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert shlex.split("".join(line.removesuffix("\\") for line in lines)) == [
        "python",
        "-m",
        "runtime",
        "train",
        "--plan",
        "a b" * 20,
        "--data",
        "x" * 30,
    ]


def test_where_stages_outnumber_cores_that_is_said_first() -> None:
    found = comparison(SLOW, clock="virtual", cores=(0, 0))
    assert not_these_cores(found) == "Worked out for 2 cores; this machine has 1."
    assert not not_these_cores(comparison())
    assert advice(comparison(SLOW, one_core=(5.0,) * 2, clock="virtual", cores=(0, 0)), "train").startswith(
        "With 2 cores, train"
    )


def test_how_fair_it_is_to_compare_with_plain_pytorch_is_said() -> None:
    found = comparison(SLOW, plain=(5.0, 5.0))
    assert fairness(found).startswith(" Plain PyTorch runs on synthetic data, with as many samples an update")
    assert not fairness(comparison())
    assert " under autocast, in bf16, on" in fairness(replace(found, whole_precision="bf16"))


def test_leaders_stand_in_a_row_each_also_where_one_split_ran_or_none() -> None:
    console = Console(file=io.StringIO(), width=200)
    failed = comparison({"optimized": (None,), "end-load": (None,)})
    show_leaders([comparison(), comparison({"optimized": (20.0, 21.0)}), failed], console)
    assert isinstance(console.file, io.StringIO)
    two, one, none = [line for line in console.file.getvalue().splitlines() if line.strip().startswith("test ")]
    assert "29." in two
    assert "2.4" in two, "times as fast as the next"
    assert "20.5" in one
    assert "none came through" in none
