"""What memory cannot hold is refused before it is allocated, and told as what it is where that was not foreseen."""

from pathlib import Path
from unittest.mock import patch

import pytest
import small_models
import torch
from commands import MODEL, PROFILE, python, refusal
from torch import Tensor, nn

from profiler.capture import captured_model
from profiler.capture.least_memory import FEW, refuse_too_large
from profiler.commands import MODULES, typed_as
from profiler.errors import CaptureError, ModelError
from profiler.machine import blaming, shortage
from profiler.measure.memory import saved_bytes
from profiler.measure.stepper import stepper_for
from profiler.settings import Config

MIB = 1 << 20
FREE = "profiler.capture.least_memory.free_to_this_process"


def least_bytes(model: nn.Module, few: Tensor, config: Config) -> int:
    """Return the smallest free memory with which a step is not refused."""
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high) // 2
        try:
            with patch(FREE, lambda free=middle: (free, "the machine")):
                refuse_too_large(model, few, config)
            high = middle
        except ModelError:
            low = middle + 1
    return low


@pytest.mark.parametrize("name", ["Residual", "Plain", "Tied", "Heads", "LastInPlace"])
def test_the_estimate_is_what_a_whole_minibatch_saves_and_the_weights_take(name: str) -> None:
    """Held against the bytes that a stepper reads off all of its layers, on all samples."""
    config = Config(model=f"small_models:{name}", batch_size=24, image_size=16)
    captured = captured_model(config)
    batch = torch.randn(config.input_shape), torch.zeros(config.batch_size, dtype=torch.int64)
    stepper = stepper_for(captured, batch, config.rule, 1)
    saved = sum(saved_bytes(stepper.segment, stepper.versions, stepper.received()))
    weights = sum(parameter.nbytes for parameter in captured.model.parameters() if parameter.requires_grad)
    least = least_bytes(captured.model, batch[0][:FEW], config)
    assert least <= saved + batch[0].nbytes + 3 * weights, "a bound from below"
    assert least >= 0.9 * (saved + batch[0].nbytes + 3 * weights)


def test_the_estimate_leaves_buffers_and_generator_as_they_were() -> None:
    model = small_models.Residual()
    before = {path: buffer.clone() for path, buffer in model.named_buffers()}
    generator = torch.get_rng_state()
    refuse_too_large(model, torch.randn(3, 3, 16, 16), Config(model="x", batch_size=9))
    torch.testing.assert_close(dict(model.named_buffers()), before, rtol=0, atol=0)
    torch.set_rng_state(generator)
    expected = torch.rand(3)
    torch.set_rng_state(generator)
    refuse_too_large(model, torch.zeros(3, 3, 16, 16), Config(model="x", batch_size=9))
    assert torch.equal(torch.rand(3), expected)


def test_a_minibatch_that_cannot_fit_is_refused_before_it_is_made(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        patch(FREE, lambda: (40 * MIB, "its control group (cgroup)")),
        patch("profiler.capture.workload.capture", lambda *_given, **_named: pytest.fail("it is captured")),
    ):
        code, line = refusal(PROFILE, [*MODEL, "--batch-size", "2000"], capsys)
    assert code == 2
    assert "a training step of model 'small_models:Residual' on 2000 samples takes " in line
    assert line.endswith(" MiB at least, and its control group (cgroup) has 40 MiB free; use a smaller --batch-size")
    assert not list(in_folder.iterdir())


LIMITED = """
import resource, psutil, torch
from profiler.capture import captured_model
from profiler.settings import Config
torch.set_num_threads(1)
config = Config(model="memory_eaters:build", batch_size=2, image_size=16)
captured_model(config)  # so that all libraries are loaded
limit = psutil.Process().memory_info().vms + (400 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    captured_model(Config(model="memory_eaters:build", batch_size=32, image_size=16))
except Exception as error:
    print(type(error).__name__, error)
"""
EATER = """
from torch import nn

class Repeated(nn.Module):
    def forward(self, x):
        return x.repeat(1, 10000, 1, 1).mean((2, 3))[:, :4]

def build():
    return nn.Sequential(nn.Conv2d(3, 3, 1), Repeated(), nn.Linear(4, 4))
"""


def test_an_allocation_that_fails_is_told_with_what_was_wanted_and_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "memory_eaters.py").write_text(EATER)
    done = python(tmp_path, "-c", LIMITED)
    wanted = 32 * 30000 * 256 * 4 // MIB
    assert done.stdout.startswith("ModelError memory ran out: layer "), done.stdout + done.stderr
    assert f"of model 'memory_eaters:build' wants {wanted} MiB more, and this process (ulimit -v) has " in done.stdout
    assert done.stdout.endswith(" MiB free; use a smaller --batch-size\n")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
     RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4194304 bytes. Error code 12"),
     RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4194304 bytes."),
     OSError(12, "Cannot allocate memory")],
)  # fmt: skip
def test_whatever_says_that_memory_ran_out_is_known(error: Exception) -> None:
    with typed_as(MODULES), pytest.raises(ModelError) as told, blaming("m"):
        raise error
    assert str(told.value).startswith("memory ran out: a training step of model 'm' wants ")
    assert str(told.value).endswith("; use a smaller --batch-size")
    assert ("wants 4 MiB more" in str(told.value)) == ("4194304" in str(error))


def test_any_other_error_of_a_step_stays_what_it_is() -> None:
    assert shortage(RuntimeError("shape '[2]' is invalid"), "x") is None
    with pytest.raises(CaptureError, match="raised in its training step: ValueError: no"), blaming("m"):
        raise ValueError("no")
