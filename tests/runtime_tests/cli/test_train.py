"""``python -m runtime train``: epochs, checkpoints and weights; whatever ends a run, it goes on where it was."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path

import pytest
import small_models
import torch
from pipelines import build
from places import CHECKOUT, HELPERS

from profiler.profile import Profile
from runtime.cli import main as cli
from runtime.errors import RunError

MODEL = ("--model", "small_models:Residual", "--sample-shape", "3,16,16", "--batch-size", "4", "--quiet")
TRAIN = ("train", *MODEL, "--data", "loaders:training_and_validation", "--stages", "2")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kept_workers")]


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the profiles that training asks for, measured once."""
    folder = tmp_path_factory.mktemp("profiled")
    with chdir(folder):
        assert cli.main([*TRAIN, "--budget", "0.5s"]) == 0
    return folder / "profiles"


@pytest.fixture(autouse=True)
def _profiled(in_folder: Path, profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(profiles, in_folder / "profiles")
    monkeypatch.syspath_prepend(str(HELPERS))


def state(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return found


def assert_same(first: Path, second: Path) -> None:
    ours, theirs = state(first), state(second)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("command", ["run", "train", "verify", "compare"])
def test_a_command_that_profiles_takes_a_budget(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def budget(*_arguments: object, budget_s: float | None, **_options: object) -> Profile:
        raise RunError(f"measured for {budget_s} s")

    monkeypatch.setattr("optimizer.cli.planned.fresh_profile", budget)
    data = ["--data", "loaders:training_and_validation", "--batches", "5000"] if command == "train" else []
    assert cli.main([command, *MODEL, *data, "--stages", "2", "--budget", "2m"]) == 1
    assert "measured for 120.0 s" in capsys.readouterr().err
    if command != "compare":
        assert cli.main([command, *data, "--plan", "plan.json", "--budget", "2m"]) == 2
        assert "--budget is for measuring a profile, and --plan needs none" in capsys.readouterr().err


def test_what_is_asked_for_is_written_and_plain_pytorch_loads_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--save", "model.pt", "--log", "logs/run.jsonl", "--checkpoint", "run.ckpt"]
    assert cli.main([*TRAIN, "--epochs", "2", *files, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["minibatches"] for record in records] == [3, 3]
    assert [record["samples"] for record in records] == [11, 11]
    lines = [json.loads(line) for line in (tmp_path / "logs" / "run.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line.get("minibatch")) for line in lines] == [
        (epoch, minibatch) for epoch in range(2) for minibatch in (0, 1, 2, None)
    ]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert lines[3]["mean_loss"] == pytest.approx(sum(losses[:3]) / 3)
    assert lines[3]["validation_accuracy"] == records[0]["validation"]
    build(small_models.Residual).load_state_dict(state(tmp_path / "model.pt"), strict=True)


@pytest.mark.parametrize("every", [[], ["--every", "2"]])
def test_a_run_in_two_parts_is_the_whole_run(tmp_path: Path, every: list[str]) -> None:
    common = [*TRAIN, "--checkpoint", "run.ckpt", *every]
    assert cli.main([*common, "--epochs", "3", "--save", "whole.pt"]) == 0
    assert cli.main([*common, "--epochs", "1", "--save", "first.pt"]) == 0
    assert cli.main([*common, "--epochs", "3", "--resume", "run.ckpt", "--save", "parts.pt"]) == 0
    assert_same(tmp_path / "whole.pt", tmp_path / "parts.pt")
    assert cli.main([*common, "--epochs", "3", "--resume", "run.ckpt", "--save", "again.pt"]) == 0  # there is no more
    assert_same(tmp_path / "whole.pt", tmp_path / "again.pt")


def test_epochs_that_are_complete_are_counted_and_the_number_named_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    common = [*(word for word in TRAIN if word != "--quiet"), "--checkpoint", "run.ckpt"]
    assert cli.main([*common, "--epochs", "3"]) == 0
    capsys.readouterr()
    assert cli.main([*common, "--resume", "run.ckpt", "--epochs", "1"]) == 0
    said = capsys.readouterr().err
    assert (
        "run.ckpt has 3 epochs complete, and --epochs 1 counts those, too; add --epochs 4 or more to go on"
        in " ".join(said.split())
    )
    assert cli.main([*common, "--resume", "run.ckpt", "--epochs", "4"]) == 0
    said = capsys.readouterr().err
    assert "epoch 4/4: mean loss" in said
    assert "counts those" not in said


def started(folder: Path, *arguments: str, by: Sequence[str] = ()) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*by, sys.executable, "-m", "runtime", *arguments], cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{CHECKOUT}:{HELPERS}"}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_until(done: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 90
    while not done():
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)


def two_epochs(folder: Path) -> bool:
    log = folder / "run.jsonl"
    return log.exists() and log.read_text().count("mean_loss") >= 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_goes_on_from_its_checkpoint(tmp_path: Path, number: int, code: int) -> None:
    common = [*TRAIN, "--checkpoint", "run.ckpt", "--every", "1", "--log", "run.jsonl"]
    process = started(tmp_path, *common, "--epochs", "100000")
    wait_until(lambda: two_epochs(tmp_path), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    if number != signal.SIGKILL:
        assert "run.ckpt has all of it: to go on, repeat the command with --resume run.ckpt" in said
        assert "error" not in said
    epochs = str(torch.load(tmp_path / "run.ckpt", weights_only=True)["epoch"] + 2)
    assert cli.main([*common, "--epochs", epochs, "--resume", "run.ckpt", "--save", "parts.pt"]) == 0
    assert cli.main([*common, "--epochs", epochs, "--save", "whole.pt"]) == 0
    assert_same(tmp_path / "whole.pt", tmp_path / "parts.pt")


def test_what_was_trained_before_data_fail_is_kept_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["train", *MODEL, "--stages", "2", "--checkpoint", "run.ckpt", "--log", "run.jsonl"]
    assert cli.main([*common, "--data", "loaders:raising"]) == 2
    assert "raised OSError at minibatch 1: the disk is gone" in capsys.readouterr().err
    found = torch.load(tmp_path / "run.ckpt", weights_only=True)
    assert (found["epoch"], found["position"], found["minibatches"]) == (0, 1, 1)
    assert [json.loads(line)["minibatch"] for line in (tmp_path / "run.jsonl").read_text().splitlines()] == [0]


def test_a_loader_that_can_be_gone_through_only_once_is_refused_when_it_is_exhausted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["train", *MODEL, "--stages", "2", "--checkpoint", "run.ckpt", "--data", "loaders:once"]
    assert cli.main([*common, "--epochs", "1", "--log", "run.jsonl"]) == 0
    assert cli.main([*common, "--epochs", "2"]) == 2
    assert "the data hold no minibatch, or can be gone through only once" in capsys.readouterr().err
    assert torch.load(tmp_path / "run.ckpt", weights_only=True)["epoch"] == 1


def test_a_loss_of_ones_own_is_profiled_on_the_data_and_validated_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["model: small_models:Plain", "sample_shape: [3, 16, 16]", "batch_size: 4", "stages: 2"]
    lines += ["data: loaders:regression", "loss: loaders:squared_error"]
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    assert cli.main(["train", "--config", "run.yaml", "--quiet", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["metric"] == "loss"
    assert 0 < record["validation"] < 10
    assert cli.main(["train", "--config", "run.yaml", "--json"]) == 0
    assert "using the profile" in capsys.readouterr().err


def test_a_folder_with_modules_of_the_same_names_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "profiler.py").write_text("raise SystemExit('the user has one')")
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "__init__.py").write_text("raise SystemExit('so is this')")
    done = subprocess.run(
        [Path(sys.executable).parent / "stageplan", *TRAIN], cwd=tmp_path, capture_output=True, text=True, timeout=100,
        env=os.environ | {"PYTHONPATH": str(HELPERS)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_learning_rates_of_a_configuration_are_used(tmp_path: Path) -> None:
    lines = ["model: small_models:Plain", "sample_shape: [3, 16, 16]", "batch_size: 4", "stages: 2"]
    lines += ["data: loaders:dataset", "lr: 0.5", "warmup: 2", "decay: cosine", "decay_updates: 3", "clip: 0.01"]
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    (tmp_path / "plain.yaml").write_text("\n".join([*lines[:-5], "lr: 0.5"]))
    for name in ("run", "plain"):
        assert cli.main(["train", "--config", f"{name}.yaml", "--quiet", "--save", f"{name}.pt"]) == 0
    first, second = state(tmp_path / "run.pt"), state(tmp_path / "plain.pt")
    assert not torch.equal(first["layers.1.weight"], second["layers.1.weight"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*TRAIN, "--every", "2"], "say where with --checkpoint"),
        (
            [*TRAIN, "--checkpoint", "c", "--every", "3", "--schedule", "zero-bubble", "--update-every", "4"],
            "--every 3 would stop in the middle of an update of 4 minibatches",
        ),
        ([*TRAIN, "--resume", "none.ckpt"], "cannot read none.ckpt: No such file"),
        (["train", *MODEL], "there is nothing to train on; name a factory of a loader with --data"),
        ([*TRAIN, "--resume", "run.ckpt", "--log", "run.ckpt"], "--log and --resume name one file"),
        ([*TRAIN, "--save", "/proc/model.pt"], "cannot write /proc/model.pt"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line


def test_sigterm_to_all_processes_of_a_job_in_the_background_drains_and_keeps(tmp_path: Path) -> None:
    """As a batch system ends a job: every process of the group hears of it, and Ctrl-C is ignored."""
    common = [*TRAIN, "--checkpoint", "run.ckpt", "--log", "run.jsonl", "--every", "300"]
    background = ("sh", "-c", 'trap "" INT; exec "$0" "$@"')
    process = started(tmp_path, *common, "--epochs", "100000", by=background)
    wait_until(lambda: two_epochs(tmp_path), process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "run.ckpt has all of it" in said
    logged = sum("loss" in json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines())
    assert torch.load(tmp_path / "run.ckpt", weights_only=True)["minibatches"] == logged


def test_a_second_ctrl_c_names_the_last_checkpoint(tmp_path: Path) -> None:
    common = [*TRAIN[:-4], "--data", "loaders:stuck_after_an_epoch", "--stages", "2", "--checkpoint", "run.ckpt"]
    process = started(tmp_path, *common, "--epochs", "2")
    wait_until((tmp_path / "run.ckpt").exists, process)
    time.sleep(0.5)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "what came since run.ckpt was written is lost: to go on, repeat the command with --resume run.ckpt" in said
    assert torch.load(tmp_path / "run.ckpt", weights_only=True)["epoch"] == 1


def test_weights_that_cannot_be_written_are_kept_elsewhere_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "model.pt").symlink_to("/dev/full")
    assert cli.main([*TRAIN, "--save", "model.pt"]) == 1
    said = capsys.readouterr().err
    assert "cannot write /dev/full: No space left on device; give another place with --save" in said
    (kept,) = tmp_path.glob("stageplan-*/model.pt")
    assert f"it is in {kept}" in " ".join(said.split())
    build(small_models.Residual).load_state_dict(state(kept), strict=True)


def test_a_log_is_not_emptied_before_the_model_is_known_to_work(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text('{"epoch": 0, "minibatch": 0, "loss": 1.0}\n')
    assert cli.main([*TRAIN[:-4], "--data", "loaders:fewer", "--stages", "3000", "--log", "run.jsonl"]) > 0
    assert (tmp_path / "run.jsonl").read_text().startswith('{"epoch": 0')
