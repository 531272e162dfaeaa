"""How the form of a model is asked for."""

from profiler.profile import BF16_FORM, PLAIN_FORM, Form, Slicing, form_named, typed_for


def test_what_is_named_is_the_form_and_what_is_not_is_as_the_model_is() -> None:
    assert form_named("auto", "auto") == form_named("none", "fp32") == PLAIN_FORM
    assert form_named("none", "bf16") == BF16_FORM
    assert form_named("a=2", "bf16") == Form(Slicing("a=2"), "bf16")
    assert [form.words for form in (PLAIN_FORM, BF16_FORM, form_named("a=2", "bf16"))] == ["", "bf16", "bf16, a=2"]


def test_options_that_name_a_model_name_its_form() -> None:
    typed = ("--model", "a:b", "--slice", "c=2", "--precision", "auto", "--stages", "2")
    assert typed_for(typed, PLAIN_FORM) == ("--model", "a:b", "--stages", "2")
    assert typed_for(typed, form_named("d=2", "bf16"))[4:] == ("--precision", "bf16", "--slice", "d=2")
    assert typed_for((), BF16_FORM) == (), "no command names a model that was in memory"
