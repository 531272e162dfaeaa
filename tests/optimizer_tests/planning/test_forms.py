"""The one decision about forms: what is asked of measuring, what is tried, what is kept."""

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from precisions import with_lower
from rounds import with_rounds
from strategies import chain, layer

from optimizer.cli import measuring_blocks
from optimizer.planning import Blocks, Planner, form_request, forms_of, why_full, why_whole
from optimizer.planning.precision_choice import fastest_on_one_core
from optimizer.schedule import PLAIN_1F1B
from profiler.errors import ModelError
from profiler.files import read_json, to_json, write_whole
from profiler.profile import BF16_FORM, PLAIN_FORM, Form, Layer, Pieces, Precision, Profile, SlicedLayer
from profiler.settings import Config

PLANNER = partial(Planner, stages=2, minibatches=8)


def in_blocks(wanted: Sequence[tuple[Layer, Pieces]]) -> Blocks:
    """Blocks that cost what they divide."""
    measured = []
    for own, lengths in wanted:
        times = [own.forward_s * 1e3, own.backward_s * 1e3, own.update_s * 1e3]
        blocks = [
            replace(
                layer(f"{own.name}.block{at}", [time * length / sum(lengths) for time in times]),
                part_of=own.name, features=length, autocast=own.autocast,
            )
            for at, length in enumerate(lengths)
        ]  # fmt: skip
        concat = replace(layer(f"{own.name}.concat", (0.0, 0.0, 0.0)), part_of=own.name, autocast=own.autocast)
        measured.append(SlicedLayer(layer=own.name, parts=(*blocks, concat)))
    return measured


def lopsided() -> Profile:
    made = chain([1, 1, 12, 1])
    return replace(made, layers=tuple(replace(own, features=64 if own.name == "l2" else 0) for own in made.layers))


def test_blocks_are_asked_for_in_the_precision_that_they_would_run_in() -> None:
    asked: list[tuple[str, str]] = []

    def measure(precision: Precision, wanted: Sequence[tuple[Layer, Pieces]]) -> Blocks:
        asked.extend((str(precision), own.name) for own, _ in wanted)
        return in_blocks(wanted)

    profile = with_lower(lopsided(), [0.4, 0.4, 6.0, 0.4])
    request = form_request("auto", "auto")
    forms = forms_of(profile, PLANNER, request, stages=2, pace=PLAIN_1F1B, measure=measure)
    assert set(asked) == {("fp32", "l2"), ("bf16", "l2")}
    assert forms.sliced
    assert forms.lowered
    assert forms.best.model.form.precision == "bf16"
    assert forms.best.model.form.slicing.pieces.keys() == {"l2"}
    assert forms.whole.model.form == PLAIN_FORM, "the partitions of whole layers in float32 stay as they are"


@pytest.mark.parametrize("slicing", ["none", "auto"])
def test_without_measuring_or_blocks_layers_stay_whole(slicing: str) -> None:
    forms = forms_of(lopsided(), PLANNER, form_request(slicing, "fp32"), stages=2, pace=PLAIN_1F1B)
    assert forms.sliced is None
    assert (forms.slicing is None) == (slicing == "none"), "what nobody asked for has no reason"


@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_where_nothing_can_be_cut_no_other_precision_gives_a_faster_plan(data: st.DataObject) -> None:
    count = data.draw(st.integers(3, 6))
    times = st.lists(st.integers(1, 20), min_size=count, max_size=count)
    profile = with_lower(chain(data.draw(times)), data.draw(times), cast_ms=data.draw(st.sampled_from([0.0, 0.5, 3.0])))
    forms = forms_of(profile, PLANNER, form_request("auto", "auto"), stages=2, pace=PLAIN_1F1B)
    tried = [PLAIN_FORM, BF16_FORM, Form(precision=fastest_on_one_core(profile, PLAIN_1F1B))]
    slowest = [PLANNER(profile.costs(form)).bottleneck_s or 0.0 for form in tried]
    assert (forms.best.bottleneck_s or 0.0) <= 1.02 * min(slowest) + 1e-9


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    write_whole(tmp_path / "p.json", to_json(lopsided()))
    return tmp_path / "p.json"


def test_what_is_measured_is_kept_with_the_profile_within_one_budget_a_precision(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines: list[float] = []

    def measured(_config: Config, wanted: Sequence[tuple[Layer, Pieces]], _core: int, until_s: float, *_: object,
                 precision: Precision) -> Blocks:  # fmt: skip
        assert precision == "fp32"
        deadlines.append(until_s)
        return in_blocks(wanted)

    monkeypatch.setattr("profiler.measure.measure_blocks", measured)
    measure = measuring_blocks(Config(model="test"), lopsided(), kept, 0)
    third = lopsided().layers[2]
    for lengths in ((32, 32), (16, 48)):
        measure(PLAIN_FORM.precision, [(third, lengths)])
    assert [own.lengths for own in read_json(kept, Profile).blocks] == [(32, 32), (16, 48)]
    assert len(set(deadlines)) == 1
    assert 25 < deadlines[0] - time.monotonic() <= 30


def test_what_cannot_be_measured_stays_whole_unless_it_was_named(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_arguments: object, **_named: object) -> Blocks:
        raise ModelError("it is too large")

    monkeypatch.setattr("profiler.measure.measure_blocks", refused)
    wanted = [(lopsided().layers[2], (32, 32))]
    assert measuring_blocks(Config(model="test"), lopsided(), kept, 0)(PLAIN_FORM.precision, wanted) == ()
    assert "l2 cannot be measured in blocks and stay whole: it is too large" in capsys.readouterr().err
    with pytest.raises(ModelError):
        measuring_blocks(Config(model="test", slice="l2=2"), lopsided(), kept, 0)(PLAIN_FORM.precision, wanted)


@pytest.mark.parametrize(("spread", "cut"), [(0.0, True), (0.6, False)])
def test_a_gain_that_noise_eats_is_none(spread: float, cut: bool) -> None:  # noqa: FBT001
    """Cut inside, two stages are even, 4% better than whole; where both are unsteady, even stages lose that again."""
    made = chain([7.1, 7.4])
    layers = tuple(replace(own, features=1024 if own.name == "l1" else 0) for own in made.layers)
    drawing = random.Random(3)  # noqa: S311 - a test
    evenly = [1 + spread * (2 * at / 19 - 1) for at in range(20)]
    profile = with_rounds(replace(made, layers=layers), [drawing.sample(evenly, 20) for _ in range(2)])

    def measure(_precision: Precision, wanted: Sequence[tuple[Layer, Pieces]]) -> Blocks:
        return in_blocks(wanted)

    planner = partial(Planner, stages=2, minibatches=40)
    forms = forms_of(profile, planner, form_request("auto", "fp32"), stages=2, pace=PLAIN_1F1B, measure=measure)
    assert forms.slicing
    assert (forms.sliced is not None) == cut
    assert (forms.slicing.why_whole == "no gain") != cut


def test_a_machine_too_loud_to_tell_keeps_layers_whole_and_in_float32_unless_told() -> None:
    """What would be cut inside, and lowered, on a quiet one."""

    def measure(_precision: Precision, wanted: Sequence[tuple[Layer, Pieces]]) -> Blocks:
        return in_blocks(wanted)

    loud = replace(with_lower(lopsided(), [0.4, 0.4, 6.0, 0.4]), uncertainty=0.25)
    forms = forms_of(loud, PLANNER, form_request("auto", "auto"), stages=2, pace=PLAIN_1F1B, measure=measure)
    assert forms.best.model.form == PLAIN_FORM
    assert forms.slicing
    assert forms.precision
    assert "too loud" in why_whole(forms.slicing)
    assert "too loud" in why_full(forms.precision)
    told = forms_of(loud, PLANNER, form_request("l2=2", "bf16"), stages=2, pace=PLAIN_1F1B, measure=measure)
    assert told.best.model.form.slicing.pieces.keys() == {"l2"}
    assert told.best.model.form.precision == "bf16"
