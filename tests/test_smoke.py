"""What is installed does its main job, in a folder of its own: ``make released`` runs these against wheel and sdist.

Nothing here imports from the checkout, so that the packages are those of the Python that runs the tests.
"""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.smoke

MODEL = """
import torch
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 16), nn.ReLU(), nn.Linear(16, 4))

def samples():
    drawn = torch.Generator().manual_seed(1)
    pairs = torch.utils.data.TensorDataset(
        torch.randn(32, 3, 8, 8, generator=drawn), torch.randint(4, (32,), generator=drawn)
    )
    return torch.utils.data.DataLoader(pairs, batch_size=4)
"""  # noqa: E501 - a user's file
SIZES = ("--model", "mine:network", "--sample-shape", "3,8,8", "--batch-size", "4", "--stages", "2")
FACE = """
import torch, mine, stageplan
model = mine.network()
profile = stageplan.profile(model, torch.randn(4, 3, 8, 8))
with stageplan.Pipeline(model, stageplan.plan(profile, stages=2), update=stageplan.SGD(lr=0.01)) as pipeline:
    print(len(pipeline.train(mine.samples()).losses))
model.load_state_dict(pipeline.state_dict())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODEL)
    return tmp_path


def done(folder: Path, *command: str) -> str:
    """Run Python in a folder and return what it printed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"COLUMNS": "120"}
    ran = subprocess.run(
        [sys.executable, *command], cwd=folder, env=kept, capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_every_step_of_the_main_job_follows_from_the_one_before(folder: Path) -> None:
    planned = done(folder, "-m", "optimizer", *SIZES, "-o", "plan.json")
    assert planned.startswith("mine:network, batch 4, 2 stages, 1f1b: ")
    assert planned.splitlines()[-1] == "Next: python -m runtime run --plan plan.json"
    result = json.loads(done(folder, "-m", "runtime", "run", "--plan", "plan.json", "--json"))
    assert len(result["losses"]) == result["minibatches"] == 12
    verified = json.loads(done(folder, "-m", "runtime", "verify", "--plan", "plan.json", "--json"))
    assert [part["identical"] for part in verified["partitions"]] == [True]
    trained = ("--plan", "plan.json", "--data", "mine:samples", "--epochs", "2", "--save", "model.pt")
    done(folder, "-m", "runtime", "train", *trained)
    assert (folder / "model.pt").stat().st_size > 10_000


def test_a_comparison_leaves_its_page(folder: Path) -> None:
    shown = done(folder, "-m", "runtime", "compare", *SIZES, "--batches", "4", "--repeats", "1", "--out", "results")
    assert "one core" in shown
    assert "</html>" in (folder / "results" / "report.html").read_text()


def test_the_face_trains_a_model_that_is_in_memory(folder: Path) -> None:
    (folder / "script.py").write_text(FACE)
    assert done(folder, "script.py").split()[-1] == "8"


def test_it_says_its_version_and_knows_its_configurations(folder: Path) -> None:
    said = done(folder, "-c", "from runtime.cli.stageplan import main; main(['--version'])")
    assert said.startswith(f"stageplan {metadata.version('stageplan')}, torch {metadata.version('torch')}, Python 3.")
    found = done(folder, "-c", "from profiler.settings import config; print(config.for_model('vgg16').model)")
    assert found == "vgg16\n"
