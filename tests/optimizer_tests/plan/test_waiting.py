"""What a plan gives up that holds fewer minibatches, or updates more often, than keeps its stages busy."""

from dataclasses import replace

from strategies import chain

from optimizer.errors import InfeasibleError
from optimizer.plan import Plan, waiting_words
from optimizer.planning import Planner
from optimizer.schedule import pace_of
from profiler.profile import Profile


def even(layers: int) -> Profile:
    """Layers whose forward takes a third, and weight gradients another, and that hold a megabyte each."""
    found = chain([1] * layers)
    return replace(found, layers=tuple(
        replace(own, forward_s=1e-3, backward_s=2e-3, weight_gradients_s=1e-3, saved_bytes=2 << 20, left_bytes=1 << 20)
        for own in found.layers
    ))  # fmt: skip


def planned(every: int, limit: int | None = None, stages: int = 4) -> Plan:
    pace = pace_of("zero-bubble", stages, every)
    return Planner(even(8), stages, 10 * every, pace=pace, memory_limit_bytes=limit).optimized()


def test_with_enough_minibatches_an_update_nothing_is_said() -> None:
    assert not waiting_words(planned(8))
    assert not waiting_words(planned(7))
    assert not waiting_words(planned(1, stages=1))
    assert not waiting_words(replace(planned(8), schedule="1f1b-flush", held=0))


def test_fewer_minibatches_an_update_cost_what_the_issue_of_the_paper_is() -> None:
    words = waiting_words(planned(4))
    assert words.startswith("with 4 minibatches an update, stages wait, which costs ")
    assert words.endswith(" of the throughput; 7 or more keep them busy")
    assert 0.15 < float(words.split("costs ")[1].split("%")[0]) / 100 < 0.25, "0.81 of the pace in the trials"


def test_a_memory_limit_is_kept_by_holding_fewer_minibatches_and_says_what_that_costs() -> None:
    most = planned(8)
    needed = max(stage.memory_bytes for stage in most.stages)
    assert planned(8, needed).held == 7
    assert waiting_words(planned(8, needed)) == ""
    limited = planned(8, needed - (2 << 20))
    assert 4 <= limited.held < 7
    assert all(stage.memory_bytes <= needed - (2 << 20) for stage in limited.stages)
    assert limited.predicted.throughput_samples_per_s < most.predicted.throughput_samples_per_s
    words = waiting_words(limited)
    assert f"holds {limited.held} minibatches between forward and weight gradients, which costs" in words
    assert "; 7 keep all stages busy" in words


def test_of_all_that_fit_the_one_is_taken_that_promises_the_most() -> None:
    needed = max(stage.memory_bytes for stage in planned(8).stages)
    for limit in (needed - (2 << 20), needed - (4 << 20), needed - (6 << 20)):
        best = planned(8, limit).predicted.throughput_samples_per_s
        for held in range(4, 8):
            pace = pace_of("zero-bubble", 4, 8, held)
            try:
                other = Planner(even(8), 4, 80, pace=pace, memory_limit_bytes=limit).optimized()
            except InfeasibleError:
                continue
            assert other.predicted.throughput_samples_per_s <= best
