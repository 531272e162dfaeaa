"""What is said of a comparison in words: who won, whether it is noise, and what casts doubt on it."""

import io
import random
from dataclasses import replace

from comparisons import asked, comparison
from rich.console import Console

from runtime.compare import Comparison
from runtime.report import show_leaders
from runtime.report.findings import answer, fairness, insight, largest_layer, memory, worth
from runtime.report.warnings import FIRM, comparison_warnings, firmness, repeated


def said_of(**speeds: tuple[float | None, ...]) -> str:
    return answer(comparison({name.replace("_", "-"): values for name, values in speeds.items()}))


def measured(seed: int, **speeds: float) -> Comparison:
    """Six rounds each, of 1% noise."""
    numbers = random.Random(seed)  # noqa: S311 - no secret
    return comparison({name.replace("_", "-"): [speed * numbers.gauss(1, 0.01) for _ in range(6)]
                       for name, speed in speeds.items()})  # fmt: skip


def test_the_answer_is_the_fastest_and_how_far_it_is_ahead_of_the_next() -> None:
    said = said_of(optimized=(30.0, 30.0, 30.3), middle_load=(20.0, 20.0, 20.0), end_load=(10.0, 10.0, 10.0))
    assert said == "optimized is the fastest: 50% faster than middle-load (range 50–52%), the next."
    twice = said_of(optimized=(2.0, 2.0), end_load=(1.0, 1.0))
    assert twice == "optimized is the fastest: 2.0 times as fast as end-load (range 2.0–2.0), the next."
    once = said_of(optimized=(2.0,), end_load=(1.0,))
    assert once == "optimized ran fastest: 2.0 times as fast as end-load, in one round."


def test_a_tie_is_no_victory_and_a_defeat_is_said() -> None:
    tie = said_of(optimized=(10.0, 11.0, 10.0), end_load=(10.5, 10.5, 10.5))
    assert tie == "end-load and optimized are too close to tell apart."
    near = said_of(optimized=(10.0, 10.6), end_load=(9.9, 9.9))
    assert near == "optimized leads: 4% faster than end-load (range 1–7%), the next.", "two rounds leave it open"
    lost = said_of(optimized=(1.0, 1.0), end_load=(2.0, 2.0))
    assert lost == "end-load is the fastest: 2.0 times as fast as optimized (range 2.0–2.0), the next."


def test_an_answer_is_firm_where_all_others_are_slower_beyond_doubt() -> None:
    assert firmness(measured(1, optimized=20.0, end_load=10.0)) == FIRM
    few = comparison({"optimized": (20.0, 20.1, 19.9), "end-load": (10.0, 10.1, 10.0)})
    assert firmness(few) == FIRM, "three rounds are enough for the test of the race"
    near = comparison({"optimized": (10.0, 11.0, 10.2), "end-load": (10.5, 10.4, 10.1)}, repeats=3)
    assert firmness(near) == (
        "NOT FIRM: 3 rounds leave open whether optimized or end-load is faster. To make it firm: python -m runtime "
        "compare --repeats 6"
    )
    assert firmness(measured(2, optimized=10.0, end_load=10.0)) == FIRM, "that noise cannot tell them apart is firm"
    lost = {"optimized": (20.0, 20.0, 20.1), "end-load": (10.0, 10.1, None)}
    assert firmness(comparison(lost)) == FIRM, "a split failed that is slower beyond doubt"
    hurt = comparison({"optimized": (20.0, 20.0, 20.1), "end-load": (None, None, None)})
    assert firmness(hurt) == "NOT FIRM: runs of end-load failed.", "and nothing says that it ever comes through"
    assert firmness(comparison(load=0.3)) == (
        "NOT FIRM: core 1 worked for others 30% of the time. To make it firm: python -m runtime compare --fresh"
    )


def test_what_makes_a_comparison_firm_that_was_called_from_python_changes_the_call() -> None:
    noisy = replace(comparison(load=0.3), command="stageplan.compare(Net(…), …)")
    assert firmness(noisy).endswith("To make it firm: stageplan.compare(Net(…), …, repeats=6)")
    longer = replace(comparison({"optimized": (2.0,) * 6}, load=0.3), command="stageplan.compare(Net(…), …)")
    assert firmness(longer).endswith("To make it firm: stageplan.compare(Net(…), …, repeats=12)")


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
    assert comparison_warnings(quiet) == []
    noisy = comparison(load=0.3)
    assert comparison_warnings(noisy)[0].startswith("NOISY: figures may be off by up to 30%: core 1 worked for others")
    assert noisy.comparable, "which says of the cores that every stage had one, and nothing of what else ran there"
    assert any(line.startswith("ONE ROUND") for line in comparison_warnings(comparison({"optimized": (2.0,)})))
    near = comparison({"optimized": (10.0, 11.0, 10.2), "end-load": (10.5, 10.4, 10.1)})
    few = next(line for line in comparison_warnings(near) if line.startswith("FEW ROUNDS"))
    assert "75% at best" in few
    assert "--repeats 6" in few
    unfinished = asked(quiet, repeats=9)
    assert "PROVISIONAL: medians may still move, for 6 of 9 rounds" in comparison_warnings(unfinished)[0]
    failed = comparison_warnings(comparison({"optimized": (2.0, None, None), "end-load": (1.0, 1.0, 1.0)}))
    assert failed[0].startswith(
        "FAILED: figures of optimized are of fewer rounds, or there are none: 2 runs failed, first optimized"
    )
    assert "PROFILE: It drifted." in comparison_warnings(replace(quiet, profile_warnings=("It drifted.",)))
    assert firmness(replace(quiet, profile_warnings=("It drifted.",))) == FIRM, "predictions are in doubt, no runs"


def test_why_counting_layers_misleads() -> None:
    found = comparison()
    assert insight(found) == "Why: the slowest stage has 75% of the time in optimized, 92% in end-load."
    assert largest_layer(found) == "The costliest of 4 layers, l3, takes 75% of a step."
    assert insight(comparison({"optimized": (2.0, 2.0)})) == "Why: the slowest stage has 75% of the time in optimized."


def test_what_one_would_run_instead_is_set_beside() -> None:
    said = worth(comparison({"optimized": (10.0, 10.0)}, baselines=[(5.0, 5.0), (8.0, 8.0)]))
    assert said.startswith("It pays to pipeline: optimized is ")
    assert "one core" in said
    assert said.endswith(
        ", and is 25% faster than one process, 3 threads, tuned (range 25–25%), the fastest of what else there is."
    )


def test_how_fair_it_is_to_compare_baselines_is_said() -> None:
    found = comparison({"optimized": (10.0, 10.0)}, baselines=[(5.0, 5.0)])
    assert fairness(found) == " Baselines take as many samples an update."
    assert not fairness(comparison())
    lower = replace(found, whole_precision="bf16")
    assert fairness(lower) == " Baselines take as many samples an update. Baselines run under autocast, in bf16."


def test_where_a_pipeline_does_not_pay_that_is_said_plainly() -> None:
    def said(*threads: float) -> str:
        return worth(comparison({"optimized": (10.0, 10.0)}, one_core=(6.0, 6.0), baselines=[threads]))

    assert said(12.5, 12.5).startswith("It does not pay to pipeline: optimized is 67% faster than one core")
    assert "20% slower than one process, 2 threads, tuned" in said(12.5, 12.5)
    assert said(9.0, 11.0).startswith("It is as fast to pipeline")
    slow = {"optimized": (10.0, 10.0)}
    assert worth(comparison(slow, one_core=(20.0, 20.0))).startswith("It does not pay to pipeline: ")
    threads = comparison(slow, one_core=(20.0, 20.0), baselines=[(9.0, 9.0)])
    assert worth(threads).startswith("It does not pay to pipeline: ")
    assert worth(comparison(slow, one_core=(9.9, 10.1))).startswith("It is as fast to pipeline: ")


def test_memory_is_said_of_the_largest_stage() -> None:
    assert memory(comparison()).startswith("Memory: the largest stage, 1 of optimized, took 1 MiB (")
    assert not memory(comparison({"optimized": (None,)}))


def test_leaders_stand_in_a_row_each_also_where_one_split_ran_or_none() -> None:
    console = Console(file=io.StringIO(), width=200)
    failed = comparison({"optimized": (None,), "end-load": (None,)})
    show_leaders([comparison(), comparison({"optimized": (20.0, 21.0)}), failed], console)
    assert isinstance(console.file, io.StringIO)
    two, one, none = [line for line in console.file.getvalue().splitlines() if line.strip().startswith("test, batch")]
    assert "30.0" in two
    assert "2.50" in two, "times as fast as the next"
    assert "20.5" in one
    assert "none came through" in none
