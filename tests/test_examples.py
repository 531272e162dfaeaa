"""The examples run as they stand, each in a process of its own, and say what they are for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from commands import python
from places import CHECKOUT
from strategies import profile_of
from torch import nn

from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.capture import captured_model
from profiler.files import to_json, write_whole
from profiler.settings import Config

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("where_to_cut", "2 stages, 1f1b: "),
        ("train_and_keep", "plain PyTorch, with these weights: "),
        ("compare_two_splits", "equal-load"),
        ("language_model", "the head is the embedding: True"),
        ("two_towers", r"loss over all, in eval mode: 0\."),
        ("recurrent", "sums right: "),
    ],
)
def test_an_example_runs_as_it_stands(name: str, words: str, tmp_path: Path) -> None:
    run(name, words, tmp_path)


@pytest.mark.parametrize(("name", "package"), [("bert", "transformers"), ("vision_transformer", "timm")])
def test_an_example_of_another_package_runs_where_that_is_installed(name: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    run(name, "<All keys matched successfully>", tmp_path)


def test_a_plan_is_carried_out_by_another_engine_as_the_uncut_model_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = captured_model(Config(model="resnet18", batch_size=2, image_size=64))
    found = replace(profile_of(captured, 0), batch_size=2, input_shape=(2, 3, 64, 64), classes=captured.classes)
    cuts = [("layer1.1.conv1", "layer1.0.add"), ("layer2.0.conv1", "layer1.1.relu_1")]  # one value crosses both
    plan = Planner(replace(found, model="resnet18"), 3, 4, cut_after=cuts).optimized()
    write_whole(tmp_path / "plan.json", to_json(plan))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3"]
    ran = python(tmp_path, *torchrun, str(CHECKOUT / "examples" / "torch_pipelining.py"), "plan.json")
    assert ran.returncode == 0, ran.stderr
    losses = [float(number) for number in re.findall(r"loss ([0-9.]+)", ran.stdout)]
    assert losses == pytest.approx(uncut(plan, micro_batches=8, steps=3), rel=1e-4)


def uncut(plan: Plan, micro_batches: int, steps: int) -> list[float]:
    """The losses of plain training with gradients averaged over the micro-batches."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=plan.classes).train()
    rule = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for step in range(steps):
        size, numbers = plan.batch_size * micro_batches, torch.Generator().manual_seed(step)
        images = torch.randn(size, *plan.input_shape[1:], generator=numbers)
        labels = torch.randint(plan.classes, (size,), generator=numbers)
        parts = zip(images.chunk(micro_batches), labels.chunk(micro_batches), strict=True)
        mean = torch.stack([nn.functional.cross_entropy(model(some), few) for some, few in parts]).mean()
        losses.append(mean.item())
        rule.zero_grad()
        mean.backward()  # type: ignore[no-untyped-call]
        rule.step()
    return losses


def run(name: str, words: str, tmp_path: Path) -> None:
    done = python(tmp_path, str(CHECKOUT / "examples" / f"{name}.py"))
    assert done.returncode == 0, done.stderr
    assert re.search(words, done.stdout)
    assert list(tmp_path.iterdir()) == [], "an example leaves nothing behind"
