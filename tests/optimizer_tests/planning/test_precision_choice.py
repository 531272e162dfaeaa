"""The layers that run in bfloat16: the minimum cut against every choice there is."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paces import drawn_pace
from precisions import with_lower
from strategies import chain, random_profiles

from optimizer.costs import layer_s
from optimizer.planning import Planner, choose_precision
from optimizer.planning.precision_choice import faster, fastest_on_one_core
from optimizer.report.chosen_form import precision_words
from optimizer.schedule import PLAIN_1F1B, Pace
from profiler.profile import INPUT, Form, Precision, Profile


def time_s(profile: Profile, stay: frozenset[str], pace: Pace) -> float:
    """What a minibatch takes on one core with these layers in float32."""
    precision = Precision.of([layer.name for layer in profile.layers], stay)
    return sum(layer_s(layer, pace) for layer in profile.costs(Form(precision=precision)).layers)


def allowed(profile: Profile, stay: frozenset[str]) -> bool:
    """Whether layers that cast nothing come in bfloat16 only from layers that do, and groups keep together."""
    assert profile.lowered is not None
    casting = {layer.name for layer in profile.lowered.layers if layer.cast_bytes}
    halved = {
        full.name
        for full, lower in zip(profile.layers, profile.lowered.layers, strict=True)
        if lower.output_bytes < full.output_bytes
    }
    reads = [(edge.source, edge.target) for edge in profile.edges if edge.kind == "data" and edge.source != INPUT]
    passing = all(
        source not in stay or target in stay or target in casting or source not in halved for source, target in reads
    )
    return passing and all(len({name in stay for name in group}) == 1 for group in profile.inseparable)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_other_choice_of_layers_is_faster_on_one_core(data: st.DataObject) -> None:
    profile = data.draw(random_profiles(most=6))
    names = [layer.name for layer in profile.layers]
    times = data.draw(st.lists(st.integers(0, 6), min_size=len(names), max_size=len(names)))
    casting = data.draw(st.sets(st.sampled_from(names)))
    profile = with_lower(profile, times, data.draw(st.sampled_from([0.0, 0.5, 2.0])), casting=casting)
    pace = drawn_pace(data, 2, every=range(1, 3))
    choices = [frozenset(stay) for count in range(len(names) + 1) for stay in combinations(names, count)]
    best_s = min(time_s(profile, stay, pace) for stay in choices if allowed(profile, stay))
    found = fastest_on_one_core(profile, pace)
    stay = found.in_float32 if found.lowered else frozenset(names)
    assert time_s(profile, stay, pace) == pytest.approx(best_s, abs=1e-8)
    assert allowed(profile, stay)


def choice(profile: Profile, stages: int = 2) -> tuple[str, float | None]:
    found = choose_precision(profile, lambda own: Planner(own, stages, 8).bottleneck_s, PLAIN_1F1B)
    return found.precision, found.gain


def test_the_precision_of_the_fastest_slowest_stage_is_taken() -> None:
    precision, gain = choice(with_lower(chain([4, 4, 4, 4]), [2.0, 2.0, 2.0, 2.0]))
    assert precision == "bf16"
    assert gain == pytest.approx(1.0, abs=0.05)


def test_a_layer_that_is_slower_in_bfloat16_stays_where_the_casts_are_cheaper() -> None:
    one = with_lower(chain([4, 4, 4, 4]), [2.0, 2.0, 9.0, 2.0], cast_ms=0.1)
    assert choice(one)[0] == "bf16 except l2"
    dear = with_lower(chain([4, 4, 4, 4]), [3.0, 3.0, 5.0, 3.0], cast_ms=4.0)
    assert choice(dear, 1)[0] == "bf16"


def test_where_bfloat16_loses_or_gains_too_little_float32_stays() -> None:
    assert choice(with_lower(chain([4, 4, 4, 4]), [5.0, 5.0, 5.0, 5.0])) == ("fp32", 0.0)
    assert choice(with_lower(chain([4, 4, 4, 4]), [3.96, 3.96, 3.96, 3.96])) == ("fp32", 0.0)


def test_what_fits_in_bfloat16_only_is_taken() -> None:
    profile = with_lower(chain([4, 4, 4, 4]), [2.0, 2.0, 2.0, 2.0])
    found = choose_precision(profile, lambda own: 1.0 if own.form.precision == "bf16" else None, PLAIN_1F1B)
    assert (found.precision, found.gain) == ("bf16", None)


@pytest.mark.parametrize(("full_s", "lower_s", "chosen", "words"), [
    (1.0, 0.5, True, "3 of 4 layers run in bf16, 1 in fp32: the slowest stage is 100% faster than in fp32"),
    (1.0, 0.99, False, "no choice of layers in bf16 makes the slowest stage 2% faster"),
    (None, 0.5, True, "in fp32 no split keeps the limits"),
    (None, None, False, "layers run in fp32"),
])  # fmt: skip
def test_the_verdict_says_what_is_gained_over_what(
    full_s: float | None, lower_s: float | None, chosen: bool, words: str  # noqa: FBT001
) -> None:  # fmt: skip
    found = faster(Precision("bf16 except l1"), full_s, lower_s)
    assert found.precision.lowered is chosen
    assert words in precision_words(found, 4)
