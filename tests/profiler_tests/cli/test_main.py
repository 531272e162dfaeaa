"""What ``python -m profiler`` says while it measures."""

from dataclasses import replace
from typing import Any

import pytest
from strategies import chain

from profiler.cli.main import MODELS, main
from profiler.profile import Profile
from profiler.settings import Config


@pytest.mark.usefixtures("in_folder")
def test_each_model_is_named_on_stderr_before_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []

    def measured(config: Config, *_given: Any, **_named: Any) -> Profile:
        told.append(capsys.readouterr().err)
        return replace(chain([1, 2]), model=config.name)

    monkeypatch.setattr("profiler.measure.measure_profile", measured)
    monkeypatch.setattr("profiler.capture.captured_model", lambda *_given, **_named: None)
    assert main(["--budget", "60s"]) == 0
    for number, (model, said) in enumerate(zip(MODELS, told, strict=True), 1):
        last = said.splitlines()[-1]
        assert last.startswith(f"{model}: measuring, model {number} of {len(MODELS)}: up to 65 s, or longer")
