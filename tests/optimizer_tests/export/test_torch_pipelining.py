"""A plan as a script for torch.distributed.pipelining: what it trains is what the uncut model trains."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import OPTIMIZE, refusal
from places import HELPERS
from strategies import chain, profile_of
from torch import nn

from optimizer.export import MICRO_BATCHES, module_names
from optimizer.plan import Plan
from optimizer.planning import Planner
from profiler.capture import SEED, captured_model, models
from profiler.execution import cross_entropy, heads
from profiler.files import to_json, write_whole
from profiler.settings import Config

pytestmark = pytest.mark.slow

STEPS = 3
EXPORT = ("export", "plan.json", "--to", "torch-pipelining")


def plan_of(config: Config, stages: int, cuts: tuple[tuple[str, ...], ...] = ()) -> Plan:
    captured = captured_model(config)
    found = replace(
        profile_of(captured, 0),
        model=config.model, batch_size=config.batch_size, input_shape=config.input_shape, classes=captured.classes,
    )  # fmt: skip
    return Planner(found.costs(), stages, 4, cut_after=cuts).optimized()


def test_containers_stand_for_what_is_in_them_and_nothing_else() -> None:
    split = (
        ("conv", "block.0.conv", "block.0.relu", "block.0.relu_1", "block.1.conv"),
        ("block.1.relu", "add", "head.0", "head.1"),
    )
    assert module_names(split) == (("conv", "block.0", "block.1.conv"), ("block.1.relu", "add", "head"))
    for layers, names in zip(split, module_names(split), strict=True):
        for layer in layers:
            assert sum(layer == name or layer.startswith(f"{name}.") for name in names) == 1
    assert module_names((("a.b", "a.c"),)) == (("a",),)


@pytest.mark.parametrize(
    ("model", "size", "cuts"),
    [
        ("resnet18", 64, (("layer1.1.conv1", "add"), ("layer2.0.conv1", "layer1.1.relu_1"))),  # one value crosses both
        ("small_models:Heads", 16, ()),
        ("small_models:OptionalMask", 16, ()),
    ],
)
def test_the_script_trains_what_the_uncut_model_trains(
    model: str, size: int, cuts: tuple[tuple[str, ...], ...], in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(model=model, batch_size=4, image_size=size)
    plan = plan_of(config, len(cuts) + 1 if cuts else 2, cuts)
    write_whole(in_folder / "plan.json", to_json(plan))
    assert OPTIMIZE([*EXPORT, "-o", "train.py"]) == 0
    said = capsys.readouterr()
    assert not said.out
    assert f"stage {plan.num_stages - 1} (" in said.err
    script = (in_folder / "train.py").read_text()
    (in_folder / "train.py").write_text(re.sub(r"STEPS = \d+", f"STEPS = {STEPS}", script))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(plan.num_stages)]
    environment = os.environ | {"PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [*command, "train.py"], capture_output=True, text=True, check=False, timeout=100, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    found = [float(number) for number in re.findall(r"loss ([0-9.]+)", ran.stdout)]
    assert found == pytest.approx(uncut(config, plan.classes), rel=1e-4)


def uncut(config: Config, classes: int) -> list[float]:
    """The losses of plain training with gradients averaged over the micro-batches."""
    model = models.build(config.model, config.classes, SEED)
    rule = torch.optim.SGD(model.parameters(), lr=config.lr, momentum=config.momentum)
    losses = []
    for step in range(STEPS):
        size, numbers = config.batch_size * MICRO_BATCHES, torch.Generator().manual_seed(step)
        images = torch.randn(size, *config.input_shape[1:], generator=numbers)
        labels = torch.randint(classes, (size,), generator=numbers)
        found = [
            cross_entropy(heads(model(some)), few)
            for some, few in zip(images.chunk(MICRO_BATCHES), labels.chunk(MICRO_BATCHES), strict=True)
        ]
        mean = torch.stack(found).mean()
        losses.append(mean.item())
        nn.Module.zero_grad(model)
        mean.backward()  # type: ignore[no-untyped-call]
        rule.step()
    return losses


def test_the_script_is_a_program_whatever_the_update_rule_and_input(in_folder: Path) -> None:
    write_whole(in_folder / "plan.json", to_json(plan_of(Config(model="alexnet", batch_size=1), 4)))
    for rule in ("sgd", "adam", "adamw"):
        (in_folder / "c.yaml").write_text(f"model: alexnet\nupdate_rule: {rule}\nlr: 0.003\n")
        assert OPTIMIZE([*EXPORT, "--config", "c.yaml", "-o", "train.py", "--quiet"]) == 0
        script = (in_folder / "train.py").read_text()
        compile(script, "train.py", "exec")
        assert "num_classes=1000" in script, "as planned"
        assert "lr=0.003" in script
    subprocess.run([sys.executable, "-m", "ruff", "check", "--select", "E9,F,I", "train.py"], check=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "none.json", "--to", "torch-pipelining"], "none.json"),
        (
            ["export", "plan.json", "--to", "torch-pipelining", "--config", "other.yaml"],
            "is for test and other.yaml for",
        ),
        ([*EXPORT, "-o", "plan.json/x.py"], "plan.json/x.py"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], words: str, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_whole(in_folder / "plan.json", to_json(Planner(chain([1, 2, 3]).costs(), 2, 4).optimized()))
    (in_folder / "other.yaml").write_text("model: vgg16\n")
    code, said = refusal(OPTIMIZE, arguments, capsys)
    assert code == 2
    assert words in said
