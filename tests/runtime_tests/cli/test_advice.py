"""Commands that messages name are typed again as they stand: for a model of token ids, each runs."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from commands import OPTIMIZE, PROFILE, RUN, Command, refusal
from ports import lone_rank

from optimizer.plan import Plan
from profiler.commands import MODULES, ONE_NAME, typed_as
from profiler.commands import again as profile_again
from profiler.files import read_json, to_json, write_whole
from profiler.profile import Profile
from runtime.cli import stageplan

MODEL = """
from torch import nn

def build():
    return nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 4))
"""
NAMED = ["--model", "texts:build", "--sample-shape", "6", "--vocabulary", "50", "--batch-size", "4", "--stages", "2"]
SETTINGS = """
model: texts:build
sample_shape: [6]
vocabulary: 50
update_rule: adamw
stages: 2
"""
KEPT = "profiles/texts-build-b4-6.json"
MAINS: dict[str, Command] = {"profiler": PROFILE, "optimizer": OPTIMIZE, "runtime": RUN}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kept_workers")]


def types(form: str, name: str, *arguments: str) -> tuple[Command, list[str]]:
    """Return the main and the arguments of a command that is typed in a form."""
    if form == ONE_NAME:
        return stageplan.main, [name, *arguments]
    return {"profile": PROFILE, "plan": OPTIMIZE, "run": RUN}[name], [
        *([name] if name == "run" else []),
        *arguments,
    ]


def carry_out(text: str, form: str) -> None:
    """Run a command as a shell would."""
    words = shlex.split(text)
    if form == ONE_NAME:
        assert words.pop(0) == "stageplan"
        assert stageplan.main([*words, "--quiet"]) == 0
        return
    assert words[:2] == ["python", "-m"]
    assert MAINS[words[2]]([*words[3:], "--quiet"]) == 0


@pytest.fixture(params=[(MODULES, NAMED), (ONE_NAME, ["--config", "own settings.yaml"])], ids=["options", "file"])
def typed(request: pytest.FixtureRequest, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """The form in which commands are typed, and the options that name the model, which is profiled."""
    (in_folder / "texts.py").write_text(MODEL)
    (in_folder / "own settings.yaml").write_text(SETTINGS)
    monkeypatch.syspath_prepend(str(in_folder))
    form, named = request.param
    main, arguments = types(form, "profile", *named, "--budget", "0.1s", "--quiet")
    assert main(arguments) == 0
    return form, named


@pytest.fixture
def advice(capsys: pytest.CaptureFixture[str], typed: tuple[str, list[str]]) -> Callable[..., str]:
    def of(name: str, *arguments: str, between: tuple[str, str]) -> str:
        code, line = refusal(*types(typed[0], name, *arguments), capsys)
        assert code == 2
        found = re.search(f"{re.escape(between[0])}(.*){re.escape(between[1])}", line)
        assert found, line
        return found[1]

    return of


def test_every_advice_can_be_typed_as_it_stands(typed: tuple[str, list[str]], advice: Callable[..., str]) -> None:
    form, _ = typed
    profile = read_json(Path(KEPT), Profile)

    with typed_as(form):
        anew = profile_again("profile", profile.typed)
    carry_out(anew, form)
    again = read_json(Path(KEPT), Profile)
    assert again.measured_at >= profile.measured_at
    assert again.update_rule == profile.update_rule
    assert again != profile

    elsewhere = replace(again, machine=replace(again.machine, cpu="another"))
    write_whole(Path("else.json"), to_json(elsewhere))
    planned = ("plan", "--profile", "else.json", "--stages", "2", "-o", "plan.json")
    carry_out(advice(*planned, between=("here with ", ", or add --any-machine")), form)
    main, arguments = types(form, *planned, "--quiet")
    assert main(arguments) == 0

    assert len(read_json(Path("plan.json"), Plan).stages) == 2

    sliced = ("plan", "--profile", KEPT, "--stages", "2", "--slice", "2=2", "--quiet")
    carry_out(advice(*sliced, between=("the profile that comes of ", "")), form)
    (cut,) = Path("profiles").glob("*-sliced-*.json")
    main, arguments = types(form, "plan", "--profile", str(cut), "--stages", "2", "--slice", "2=2", "--quiet")
    assert main(arguments) == 0


def test_a_rank_without_a_plan_is_told_the_command_that_makes_it(
    typed: tuple[str, list[str]], advice: Callable[..., str]
) -> None:
    form, named = typed
    with pytest.MonkeyPatch.context() as patch, lone_rank(patch):
        said = advice("run", *named, between=("make one with ", ", and name it"))
    carry_out(said, form)
    assert len(read_json(Path("plan.json"), Plan).stages) == 2
