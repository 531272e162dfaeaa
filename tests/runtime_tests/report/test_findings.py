"""What is said of a comparison in words: who won, whether it is noise, and what casts doubt on it."""

from dataclasses import replace

import pytest
from comparisons import asked, comparison, plans
from strategies import chain

from runtime.report.batch_sizes import change, winner
from runtime.report.findings import fairness, verdict
from runtime.report.study_table import beside_the_study
from runtime.report.warnings import comparison_warnings, drift_of


def first(**speeds: tuple[float | None, ...]) -> str:
    return verdict(comparison({name.replace("_", "-"): values for name, values in speeds.items()}))[0]


def test_the_speed_beside_the_fastest_and_the_slowest_of_the_others() -> None:
    said = first(optimized=(30.0, 30.0, 30.3), middle_load=(20.0, 20.0, 20.0), end_load=(10.0, 10.0, 10.0))
    assert said == (
        "test, batch 2, 2 stages: optimized was 50% faster than the fastest scheme, middle-load (95% interval 50–52%); "
        "it was 3.0 times as fast as the slowest, end-load (95% interval 3.0–3.0)."
    )
    assert "was 2.0 times as fast as end-load (95% interval 2.0–2.0)." in first(
        optimized=(2.0, 2.0), end_load=(1.0, 1.0)
    )
    assert "was 2.0 times as fast as end-load, in one round." in first(optimized=(2.0,), end_load=(1.0,))


def test_a_tie_is_no_victory_and_a_defeat_is_said() -> None:
    assert "optimized ties with end-load" in first(optimized=(10.0, 11.0, 10.0), end_load=(10.5, 10.5, 10.5))
    assert "optimized was 50% slower than end-load" in first(optimized=(1.0, 1.0), end_load=(2.0, 2.0))


def test_equal_splits_are_not_compared() -> None:
    named = plans("optimized", "front-load")
    assert "all partitions are the same split" in verdict(comparison({"optimized": (3.0, 3.0)}, named=named))[0]
    named = plans("optimized", "front-load", "end-load")
    said = verdict(comparison({"optimized": (3.0, 3.0), "end-load": (1.0, 1.0)}, named=named))[0]
    assert "optimized is the same split as the fastest scheme, front-load" in said


def test_stages_that_shared_cores_on_the_wall_clock_are_not_comparable() -> None:
    found = verdict(comparison(cores=(0, 0)))
    assert "on shared cores: optimized was 2.5 times as fast as end-load" in found[0]
    assert found[-1].startswith("NOT COMPARABLE: timings between splits mean little")
    assert not any("to pipeline" in line for line in found)
    assert any("Predictions not checked: they do not cover shared cores" in line for line in found)


def test_the_virtual_clock_is_said_once_with_what_it_leaves_out() -> None:
    found = verdict(comparison(cores=(0, 0), clock="virtual"))
    assert found[0].startswith("test, batch 2, 2 stages: optimized was 2.5 times as fast as end-load")
    (said,) = [line for line in found if "irtual clock" in line]
    assert "2 stages took turns on 1 core" in said
    assert "Left out: stages that are busy at once slow each other down" in said
    assert any(line.startswith("Predictions: ") for line in found), "there is something to audit"


def test_a_comparison_without_the_optimized_split_has_a_reference_all_the_same() -> None:
    said = first(end_load=(2.0, 2.0), middle_load=(1.0, 1.0))
    assert "end-load was 2.0 times as fast as middle-load" in said
    assert "end-load ran at 2.0 samples/s" in first(end_load=(2.0, 2.0))
    assert "end-load did not come through" in first(end_load=(None,))
    assert "too few runs came through" in first(optimized=(None,), end_load=(1.0,))


def test_every_doubt_has_a_name_a_cause_and_a_remedy() -> None:
    quiet = comparison({"optimized": (2.0,) * 6, "end-load": (1.0,) * 6})
    assert comparison_warnings(quiet) == []
    assert verdict(quiet)[-1] == "Nothing casts doubt on these figures."
    assert comparison_warnings(comparison(load=0.3))[0].startswith("NOISY: ")
    noisy = comparison(load=0.3)
    assert "figures may be off by up to 30%: core 1 worked for others 30% of the time" in comparison_warnings(noisy)[0]
    assert noisy.comparable, "which says of the cores that every stage had one, and nothing of what else ran there"
    assert "comparable" not in " ".join(verdict(noisy)).lower()
    assert any(line.startswith("ONE ROUND") for line in comparison_warnings(comparison({"optimized": (2.0,)})))
    few = next(line for line in comparison_warnings(comparison()) if line.startswith("FEW ROUNDS"))
    assert "75% at best" in few
    assert "--repeats 6" in few
    unfinished = asked(quiet, repeats=9)
    assert "PROVISIONAL: medians may still move, for 6 of 9 rounds" in comparison_warnings(unfinished)[0]
    failed = comparison_warnings(comparison({"optimized": (2.0, None, None), "end-load": (1.0, 1.0, 1.0)}))
    assert failed[0].startswith(
        "FAILED: figures of optimized are of fewer rounds, or there are none: 2 runs failed, first optimized"
    )
    assert "PROFILE: It drifted." in comparison_warnings(replace(quiet, profile_warnings=("It drifted.",)))


@pytest.mark.parametrize(("factor", "word"), [(0.9, "slower"), (1.1, "faster")])
def test_drift_is_what_all_contenders_have_in_common(factor: float, word: str) -> None:
    speeds = [10.0 * factor**number for number in range(6)]
    drifting = comparison({"optimized": speeds, "end-load": [speed / 2 for speed in speeds]})
    assert drift_of(drifting) == pytest.approx(factor**-4 - 1, rel=0.02)
    assert any(line.startswith("DRIFT") and word in line for line in comparison_warnings(drifting))


def test_why_counting_layers_misleads() -> None:
    said = next(line for line in verdict(comparison()) if line.startswith("Why"))
    assert "l3, one of 4 layers, takes 75% of a step" in said
    assert "stage 1 of end-load has 75% of the layers and 92% of the time" in said
    assert "no stage of optimized has more than 75% of it" in said


def test_what_one_would_run_instead_is_set_beside() -> None:
    found = comparison({"optimized": (10.0, 10.0)}, baselines={"a": (5.0, 5.0), "b": (8.0, 8.0)})
    said = next(line for line in verdict(found) if "to pipeline" in line)
    assert said.startswith("It pays to pipeline: optimized, 2 stages, was ")
    assert "the plain step on one core" in said
    assert "and was 25% faster than b, tuned (95% interval 25–25%) (synchronous, one update a minibatch)" in said
    assert said.endswith(", the fastest of what else there is.")


def test_like_is_compared_with_like_and_what_updates_otherwise_is_named_beside() -> None:
    every, speeds = {"as often": 1, "rarely": 4}, {"as often": (8.0, 8.0), "rarely": (20.0, 20.0)}

    def said(*names: str) -> str:
        chosen = {name: speeds[name] for name in names}
        found = comparison({"optimized": (10.0, 10.0)}, one_core=(5.0, 5.0), baselines=chosen)
        rows = tuple(replace(row, update_every=every[row.name]) for row in found.baselines)
        return next(line for line in verdict(replace(found, baselines=rows)) if "to pipeline" in line)

    both = said("as often", "rarely")
    assert both.startswith("It pays to pipeline: "), "though something that updates otherwise was faster"
    assert "25% faster than as often, tuned" in both
    assert (
        "the fastest of what else updates as often. Of what updates less or more often, it was 50% slower than" in both
    )
    assert "(synchronous, one update for 4 minibatches), the fastest." in both
    assert "Nothing else updates as often; it was 50% slower than rarely" in said("rarely")
    assert said("rarely").startswith("It does not pay to pipeline: ")
    found = comparison({"optimized": (10.0, 10.0)}, baselines={"a": (5.0, 5.0)})
    assert fairness(found) == " Baselines take as many samples an update."
    rarer = replace(found, baselines=tuple(replace(row, update_every=4) for row in found.baselines))
    assert "throughput alone is not a fair comparison" in fairness(rarer)
    assert not fairness(comparison())
    lower = replace(found, one_core=replace(found.one_core, precision="bf16"))
    assert fairness(lower) == " Baselines take as many samples an update. Baselines run under autocast, in bf16."


def test_where_a_pipeline_does_not_pay_that_is_said_plainly() -> None:
    def said(**speeds: tuple[float, ...]) -> str:
        found = comparison({"optimized": (10.0, 10.0)}, one_core=(6.0, 6.0), baselines={"threads": speeds["threads"]})
        return next(line for line in verdict(found) if "to pipeline" in line)

    assert said(threads=(12.5, 12.5)).startswith(
        "It does not pay to pipeline: optimized, 2 stages, was 67% faster than"
    )
    assert "20% slower than threads, tuned" in said(threads=(12.5, 12.5))
    assert said(threads=(9.0, 11.0)).startswith("It is as fast to pipeline")
    alone = comparison({"optimized": (10.0, 10.0)}, one_core=(20.0, 20.0))
    assert any(line.startswith("It does not pay to pipeline: ") for line in verdict(alone))
    slow_threads = comparison({"optimized": (10.0, 10.0)}, one_core=(20.0, 20.0), baselines={"threads": (9.0, 9.0)})
    assert any(line.startswith("It does not pay to pipeline: ") for line in verdict(slow_threads))
    even = comparison({"optimized": (10.0, 10.0)}, one_core=(9.9, 10.1))
    assert any(line.startswith("It is as fast to pipeline: ") for line in verdict(even))


def test_memory_is_said_where_there_are_no_baselines() -> None:
    said = next(line for line in verdict(comparison()) if line.startswith("Memory"))
    assert "peaked at 1 MiB, " in said
    assert "MiB that were predicted" in said


def test_the_winner_at_a_batch_size_has_a_reason() -> None:
    found = winner(comparison({"optimized": (30.0, 30.0), "end-load": (10.0, 10.0)}))
    assert found.names == ("optimized",)
    assert found.runner_up == "end-load"
    assert found.heaviest == "l3"
    assert found.heaviest_share == pytest.approx(0.75)
    assert found.reason.startswith("optimized: slowest stage 1, ")
    assert "; end-load: slowest stage 1" in found.reason
    tie = winner(comparison({"optimized": (10.0, 11.0, 10.0), "end-load": (10.5, 10.5, 10.5)}))
    assert set(tie.names) == {"optimized", "end-load"}
    assert tie.runner_up == ""
    shared = winner(comparison({"optimized": (1.0, 1.0), "end-load": (9.0, 9.0)}, cores=(0, 0)))
    assert shared.names == ("end-load",), "what was measured is shown, be it what it may"
    assert (shared.speed, shared.doubt) == (9.0, " (NOT COMPARABLE)")
    assert winner(comparison(load=0.3)).doubt == " (NOISY)"
    assert winner(comparison({"optimized": (1.0,), "end-load": (9.0,)})).doubt == " (not ranked)"


def test_an_evenly_spaced_split_that_won_is_not_passed_over() -> None:
    moved = plans("middle-load", profile=chain([1, 1, 9, 1]))["middle-load"]
    named = plans("optimized", "end-load") | {"spaced-1": moved}
    speeds = {"optimized": (10.0, 10.0), "end-load": (5.0, 5.0)}
    said = verdict(comparison(speeds | {"spaced-1": (11.0, 11.0)}, named=named))[0]
    assert said.endswith(
        "spaced-1, which nobody proposed, was faster still: optimized was 9% slower than it (95% interval 9–9%)."
    )
    assert "spaced-1" not in verdict(comparison(speeds | {"spaced-1": (9.0, 11.0)}, named=named))[0]


def test_where_nothing_ran_nobody_won() -> None:
    nothing = winner(comparison({"optimized": (None,), "end-load": (None,)}))
    assert nothing.names == ()
    assert nothing.reason == "nothing ran"
    one = winner(comparison({"optimized": (30.0, 30.0), "end-load": (10.0, 10.0)}))
    assert change([one, nothing]) == ""
    other = replace(one, batch_size=16, names=("end-load",))
    assert "most likely it is noise" in change([one, other]), "the costs have not moved"


def test_baselines_say_nothing_of_speed_where_stages_shared_cores() -> None:
    found = comparison({"optimized": (10.0, 10.0)}, baselines={"a": (5.0, 5.0)}, cores=(0, 0))
    assert not any("Instead" in line for line in verdict(found))


def test_why_the_winner_changes_with_the_batch_size() -> None:
    one = winner(comparison({"optimized": (30.0, 30.0), "end-load": (10.0, 10.0)}))
    other = replace(one, batch_size=16, names=("end-load",), update_share=0.1)
    said = change([replace(one, update_share=0.6), other])
    assert said.startswith("The winner changes because cost moves")
    assert "60% of a step at batch 2 and 10% at batch 16" in said
    assert change([one, replace(one, batch_size=16)]).startswith("optimized wins at every size")


def test_the_studys_order_stands_beside_ours() -> None:
    names = ("front-heavy", "front-load", "middle-load", "end-load", "end-heavy", "equal-load")
    profile = chain([number % 5 + 1 for number in range(30)])
    named = plans(*names, profile=profile, stages=4)
    speeds = {name: (float(10 - place),) for place, name in enumerate(names)}
    found = comparison(speeds, named=named, model="alexnet", batch_size=8, input_shape=(8, 3, 128, 128), num_stages=4,
                       cores=(0, 1, 2, 3))  # fmt: skip
    beside = beside_the_study(found)
    assert beside is not None
    assert [row.name for row in beside.rows][:2] == ["middle-load", "front-load"], "5.9418 s and 6.0383 s"
    rows = {row.name: row for row in beside.rows}
    assert rows["equal-load"].theirs == 6
    assert rows["front-heavy"].ours == 1
    places = [(row.theirs, row.ours or 0) for row in beside.rows]
    squares = sum((one - other) ** 2 for one, other in places)
    assert beside.measured_spearman == pytest.approx(1 - 6 * squares / (6 * 35)), "Spearman's own formula"
    assert beside_the_study(comparison()) is None
    other = comparison(speeds, named=named, model="alexnet", batch_size=7, input_shape=(7, 3, 128, 128), num_stages=4,
                       cores=(0, 1, 2, 3))  # fmt: skip
    assert beside_the_study(other) is None, "the study has no such batch size"
