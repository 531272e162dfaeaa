from dataclasses import replace
from pathlib import Path

import pytest

from profiler.capture import captured_model
from profiler.cli import profile_cache as store
from profiler.errors import ModelError
from profiler.files import read_json, to_json, write_whole
from profiler.measure import measure_profile
from profiler.profile import PLAIN_FORM, Form, Profile, Slicing
from profiler.settings import Config

CONFIG = Config(model="small_models:Plain", batch_size=2, image_size=16)


@pytest.fixture
def said(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:  # noqa: ARG001 - to be in an empty folder
    notes: list[str] = []
    monkeypatch.setattr(store, "note", notes.append)
    return notes


def ask(config: Config, core: int, form: Form = PLAIN_FORM) -> Profile:
    return store.fresh_profile(replace(config, cores=(core,)), form)


@pytest.fixture(scope="module")
def fresh(usable: tuple[int, ...]) -> Profile:
    return measure_profile(CONFIG, captured_model(CONFIG), usable[:1], lambda _share: None)


def test_each_form_has_a_profile_that_is_measured_once_and_then_kept(said: list[str], usable: tuple[int, ...]) -> None:
    forms = [PLAIN_FORM, Form(Slicing("layers.1=2"))]
    first = [ask(CONFIG, usable[0], form) for form in forms]
    assert "there is none yet" in said[0]
    assert [found.form for found in first] == forms
    assert first[0].model_digest == first[1].model_digest
    assert [ask(CONFIG, usable[0], form) for form in reversed(forms)] == first[::-1]
    path = store.path_for(CONFIG)
    assert said[-1] == f"small_models:Plain: using the profile {path} of {first[0].measured_at}"
    assert len(list(Path("profiles").iterdir())) == len(forms)


def test_a_module_of_the_users_that_sets_variables_wears_no_profile_out(
    said: list[str], usable: tuple[int, ...], fresh: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(store.path_for(CONFIG), to_json(fresh))
    for name in ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "MALLOC_ARENA_MAX"):
        monkeypatch.setenv(name, "1")
    assert ask(CONFIG, usable[0]) == fresh
    assert "using the profile" in said[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_digest": "0"}, "the model has changed since"),
        ({"input_shape": (2, 3, 8, 8)}, "that one has input (2, 3, 8, 8), not (2, 3, 16, 16)"),
        ({"update_rule": "adam"}, "that one has update rule adam, not sgd with momentum"),
        ({"model": "other"}, "that one has model other"),
        ({"machine": None}, "cpu another there"),
        ({}, "is not a profile"),
    ],
)
def test_a_profile_that_no_longer_fits_is_measured_again(  # noqa: PLR0917
    said: list[str],
    usable: tuple[int, ...],
    fresh: Profile,
    change: dict[str, object],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newer = replace(fresh, measured_at="later")
    monkeypatch.setattr("profiler.measure.measure_profile", lambda *_given, **_named: newer)
    if "machine" in change:
        change = {"machine": replace(fresh.machine, cpu="another")}
    content = to_json(replace(fresh, **change)) if change else b"{"  # type: ignore[arg-type]
    write_whole(store.path_for(CONFIG), content)
    again = ask(CONFIG, usable[0])
    assert any(words in sentence for sentence in said)
    assert again == newer
    assert read_json(store.path_for(CONFIG), Profile) == newer


@pytest.mark.parametrize("change", [{"model_digest": "0"}, {"update_rule": "adam"}])
@pytest.mark.usefixtures("said")
def test_where_a_kept_profile_does_not_fit_a_minibatch_that_memory_cannot_hold_is_refused(
    usable: tuple[int, ...], fresh: Profile, change: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, batch_size=256)
    kept = replace(fresh, batch_size=config.batch_size, input_shape=config.input_shape, **change)  # type: ignore[arg-type]
    write_whole(store.path_for(config), to_json(kept))
    monkeypatch.setattr("profiler.measure.measure_profile", lambda *_given, **_named: pytest.fail("it is measured"))
    monkeypatch.setattr("profiler.capture.least_memory.free_to_this_process", lambda: (1 << 20, "the machine"))
    with pytest.raises(ModelError, match="a training step of model 'small_models:Plain' on 256 samples takes"):
        ask(config, usable[0])
