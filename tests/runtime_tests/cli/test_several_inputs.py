"""Models of several inputs from the first command to the last, as commands and from Python."""

from pathlib import Path

import pytest
import small_models
import torch
from commands import OPTIMIZE, PROFILE, RUN
from loaders import batch_of_two_inputs, two_inputs, two_inputs_and_targets
from pipelines import build

import stageplan
from optimizer.plan import Plan
from profiler.errors import ModelError
from profiler.files import read_json
from profiler.profile import Profile
from runtime.results import RunResult

pytestmark = [pytest.mark.usefixtures("kept_workers"), pytest.mark.slow]
CONFIG = """
model: small_models:TwoInputs
batch_size: 4
data: loaders:{data}
loss: {loss}
stages: 2
batches: 5
"""


def configured(folder: Path, data: str, loss: str) -> list[str]:
    path = folder / "two.yaml"
    path.write_text(CONFIG.format(data=data, loss=loss).replace("loss: \n", ""))
    return ["--config", str(path)]


@pytest.mark.parametrize(("data", "loss"), [("two_inputs", "model"), ("two_inputs_and_targets", "")])
def test_every_command_takes_what_the_data_give(
    in_folder: Path, capsys: pytest.CaptureFixture[str], data: str, loss: str
) -> None:
    config = configured(in_folder, data, loss)
    assert PROFILE([*config, "--budget", "0.5s"]) == 0
    (kept,) = (in_folder / "profiles").glob("*.json")
    profile = read_json(kept, Profile)
    inputs = [layer.name for layer in profile.layers if layer.kind == "Input"]
    assert inputs == ["ids", "table", "mask", *(["labels"] if loss else [])]
    assert OPTIMIZE([*config, "-o", "plan.json"]) == 0
    assert f"using the profile {kept.relative_to(in_folder)}" in " ".join(capsys.readouterr().err.split())
    assert read_json(in_folder / "plan.json", Plan).input_shape == profile.input_shape
    assert RUN(["run", *config, "--plan", "plan.json", "-o", "run.json"]) == 0
    assert None not in read_json(in_folder / "run.json", RunResult).losses
    capsys.readouterr()
    assert RUN(["verify", *config, "--partition", "optimized", "--batches", "5"]) == 0
    assert "identical" in capsys.readouterr().out
    assert RUN(["train", *config, "--plan", "plan.json", "--epochs", "2", "--save", "weights.pt"]) == 0
    weights = torch.load(in_folder / "weights.pt", weights_only=True)
    build(small_models.TwoInputs).load_state_dict(weights, strict=True)


def test_data_of_another_batch_size_are_refused(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(in_folder, "two_inputs", "model")
    assert PROFILE([*config, "--batch-size", "3"]) == 2
    said = capsys.readouterr().err
    assert "has 4 samples and 3 are to be measured; set --batch-size to match" in said
    assert "Traceback" not in said


def test_minibatches_that_do_not_fit_are_refused_by_number() -> None:
    sample = two_inputs()[0]
    profile = stageplan.profile(build(small_models.TwoInputs), sample, loss="model", budget_s=0.2)
    plan = stageplan.plan(profile, stages=2)
    with pytest.raises(stageplan.StageplanError, match="give a minibatch like the one that was profiled"):
        stageplan.Pipeline(build(small_models.TwoInputs), plan, sample=batch_of_two_inputs(3, 0), loss="model")
    longer = {**sample, "ids": torch.zeros(4, 7, dtype=torch.int64)}
    for bad, words in (
        ([sample, longer], "at minibatch 1: 'ids' has shape .* pad each minibatch to one length"),
        ([{"ids": sample["ids"]}], "at minibatch 0: a minibatch has ids, and the model was profiled with"),
        ([sample["ids"]], "at minibatch 0"),
        (two_inputs_and_targets(), "'labels' is in one of them only"),
    ):
        with (
            stageplan.Pipeline(build(small_models.TwoInputs), plan, sample=sample, loss="model") as pipeline,
            pytest.raises(stageplan.StageplanError, match=words),
        ):
            pipeline.train(bad)
    with pytest.raises(ModelError, match="DataParallel"):
        stageplan.profile(torch.nn.DataParallel(build(small_models.TwoInputs)), sample)
