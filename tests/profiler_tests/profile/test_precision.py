"""How a precision is written, and what a profile costs in it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from precisions import with_lower
from strategies import chain

from profiler.errors import ConfigError
from profiler.profile import Form, ModelCosts, Precision, Profile, SlicedLayer, Slicing

NAMES = ("a", "b.0", "c_1", "d")


@given(st.sets(st.sampled_from(NAMES)))
def test_what_is_written_is_read_again(stay: set[str]) -> None:
    read = Precision(str(Precision.of(NAMES, stay)))
    assert (read.in_float32 if read.lowered else set(NAMES)) == stay


@pytest.mark.parametrize("text", ["", "fp16", "bf16 except ", "bf16 except a,,b", "bf16 but a", "except a"])
def test_what_is_no_precision_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no precision; write fp32, bf16, or bf16 except"):
        Precision(text)


def test_words_count_the_layers_that_stay() -> None:
    assert [Precision(text).words for text in ("fp32", "bf16", "bf16 except a", "bf16 except a,b")] == [
        "fp32", "bf16", "bf16 but for 1 in fp32", "bf16 but for 2 in fp32",
    ]  # fmt: skip


def in_precision(profile: Profile, text: str) -> ModelCosts:
    return profile.costs(Form(precision=Precision(text)))


def test_layers_cost_what_they_cost_in_their_precision_and_the_reader_pays_for_casts() -> None:
    profile = with_lower(chain([4, 4, 4]), [1.0, 5.0, 1.0], cast_ms=0.5)
    mixed = in_precision(profile, "bf16 except l1")
    assert [layer.step_s * 1e3 for layer in mixed.layers] == pytest.approx([1.0, 4.5, 1.5])
    assert [layer.autocast for layer in mixed.layers] == [True, False, True]
    assert [layer.output_bytes for layer in mixed.layers] == [500, 1000, 500]
    assert mixed.form.precision == "bf16 except l1"
    assert in_precision(profile, "fp32").layers == profile.layers
    assert in_precision(profile, "fp32") == profile.costs()
    assert [layer.step_s * 1e3 for layer in in_precision(profile, "bf16").layers] == pytest.approx([1.0, 5.0, 1.0])


def test_every_block_casts_what_the_whole_layer_cast() -> None:
    profile = with_lower(chain([4, 4, 4]), [1.0, 5.0, 1.0], cast_ms=0.5)
    part = replace(profile.layers[1], features=2, part_of="l1")
    parts = (*(replace(part, name=f"l1.block{at}") for at in range(2)), replace(part, name="l1.concat", forward_s=0.0))
    cuttable = replace(profile.layers[1], features=4)
    profile = replace(
        profile,
        layers=(profile.layers[0], cuttable, profile.layers[2]),
        blocks=(SlicedLayer(layer="l1", parts=parts),),
    )
    found = profile.costs(Form(Slicing("l1=2"), Precision("bf16 except l1")))
    assert [layer.step_s * 1e3 for layer in found.layers] == pytest.approx([1.0, 4.5, 4.5, 0.0, 1.5])
    others = SlicedLayer(layer="l1", parts=tuple(replace(own, autocast=True) for own in parts))
    lower = replace(profile, blocks=(others,))
    assert not in_precision(lower, "bf16 except l1").blocks, "blocks that were measured under autocast are others"


def test_a_profile_without_bfloat16_and_one_without_the_layer_say_so() -> None:
    with pytest.raises(ConfigError, match=r"says nothing of bf16.*profile again with --precision bf16"):
        in_precision(chain([1, 2]), "bf16")
    with pytest.raises(ConfigError, match="has no layer 'x' to keep in fp32"):
        in_precision(with_lower(chain([1, 2]), [1.0, 1.0]), "bf16 except x")
