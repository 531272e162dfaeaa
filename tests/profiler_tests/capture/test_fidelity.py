"""Hold captured models against models: what a record gets wrong is refused, and holding it leaves no mark."""

import copy
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import odd_forwards
import pytest
import small_models
import torch
import torchvision
from pipelines import SHAPE, build, captured_of
from torch import Tensor, nn

from profiler.capture import laid_out, live_model, refuse_unfaithful, refuse_unfaithful_briefly
from profiler.capture.layer_graph import capture
from profiler.capture.live import captured_live
from profiler.errors import CaptureError, ModelError
from profiler.execution import Captured, OwnLoss
from profiler.execution.trees import Leaf

TARGETS = torch.tensor([0, 1, 2, 0])


def held(model: nn.Module) -> Captured:
    """Capture a model of the odd ones, and hold it against itself."""
    torch.manual_seed(0)
    live = live_model(model, (torch.randn(4, odd_forwards.WIDTH), TARGETS))
    captured = captured_live(live)
    refuse_unfaithful(captured, live.inputs, TARGETS)
    return captured


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (odd_forwards.ShapeBranch, "it calls 'mul' for one minibatch"),
        (odd_forwards.CounterInAList, "changes the attribute 'steps' (from [1] to [2])"),
        (odd_forwards.GlobalNumber, "is called with 0."),
        (odd_forwards.Memory, "'mean' reads a tensor that no call of torch made"),
        (odd_forwards.PlainTensorInPlace, "'add' reads a tensor that no call of torch made"),
        (odd_forwards.BufferValue, "with bool() (odd_forwards.py, line "),
        (odd_forwards.PythonsRandom, "draws other numbers from the generator of Python"),
        (odd_forwards.ValueInTry, "first seen in the output of layer 'h'"),
        (odd_forwards.gradient_hook_on_a_container, "another gradient of a.weight"),
        (odd_forwards.gradient_hook_on_a_parameter, "'a.weight' has a hook"),
        (odd_forwards.TensorCounter, "(2 if self.steps.item() > 100 else 1)"),
        (odd_forwards.ArrayCounter, "changes the attribute 'steps'"),
        (odd_forwards.IteratorCounter, "changes the attribute 'counter' (from count("),
        (odd_forwards.MovingAverage, "uses torch.no_grad around what parameters learn from"),
        (odd_forwards.WeightClamp, "changes the parameter a.weight"),
        (odd_forwards.Lazy, "the parameter 'a.weight' has no values yet"),
        (odd_forwards.LateBuffer, "its forward makes 'ones'; register it in __init__"),
        (odd_forwards.compiled, "the model is compiled or scripted"),
        (odd_forwards.OwnSeed, "draws other numbers from the generator of torch"),
        (odd_forwards.Numpy, "reads the values of a tensor with numpy() (odd_forwards.py, line "),
        (odd_forwards.OwnGenerator, "a generator of its own"),
        (odd_forwards.NumpysRandom, "other numbers from the generator of numpy"),
        (odd_forwards.Hidden, "a Linear that the model does not hold as a submodule"),
        (odd_forwards.Scripted, "scripted"),
        (odd_forwards.Cache, "it returns a slice, which no stage hands on"),
    ],
)
@pytest.mark.filterwarnings("ignore:For backward hooks", "ignore:.torch.jit.script. is deprecated")
def test_what_a_record_gets_wrong_is_refused_with_the_place(kind: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises((CaptureError, ModelError)) as refused:
        held(kind())
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
@pytest.mark.parametrize("name", ["googlenet", "resnet18", "swin_t"])
def test_models_of_torchvision_agree_bit_for_bit_with_their_layers(name: str) -> None:
    model = build(lambda: torchvision.models.get_model(name, weights=None, num_classes=7))
    captured = capture(model.to(memory_format=torch.channels_last), name, laid_out(torch.randn(2, 3, 64, 64)))
    refuse_unfaithful(captured, laid_out(torch.randn(2, 3, 64, 64)), torch.tensor([1, 2]))


def tampered(captured: Captured, name: str, **changes: Any) -> Captured:
    """The captured model with one layer changed."""
    operations = tuple(
        replace(operation, **changes) if operation.name == name else operation for operation in captured.operations
    )
    return replace(captured, operations=operations)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("pool", {"target": nn.AdaptiveMaxPool2d(2)}, "in the output of layer 'fc' (Linear), which runs after"),
        ("drop", {"target": nn.Dropout(0.4)}, "in the output of layer 'conv2' (Conv2d), which runs after layer '"),
        ("flatten", {"kwargs": {"start_dim": 2}}, "do not: "),
    ],
)
def test_a_layer_that_is_another_one_is_named(name: str, changes: dict[str, Any], words: str) -> None:
    captured = captured_of(small_models.Residual)
    with pytest.raises(CaptureError) as refused:
        refuse_unfaithful(tampered(captured, name, **changes), torch.randn(SHAPE), torch.tensor([0, 1, 2, 3]))
    assert words in str(refused.value)


class OnlyInEval(small_models.Plain):
    """It calls something else in eval mode only, where none of ours runs its layers."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y if self.training else y * 2


class FixedSize(small_models.Plain):
    """Takes four samples and no other number."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x.view(4, 3, 16, 16))
        return y


class NotANumber(small_models.Plain):
    """What it computes is no number; every bit of that is the same all the same."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x) * float("nan")
        return y


@pytest.mark.parametrize(
    "kind", [OnlyInEval, FixedSize, NotANumber, small_models.Tied, small_models.Stateful, small_models.Heads]
)
def test_sizes_that_the_model_itself_refuses_and_numbers_that_are_none_are_no_difference(
    kind: Callable[[], nn.Module],
) -> None:
    captured = captured_of(kind)
    refuse_unfaithful(captured, torch.randn(SHAPE), torch.tensor([0, 1, 2, 3]))
    refuse_unfaithful_briefly(captured, torch.randn(SHAPE))


def second_head(output: Any, targets: Tensor) -> Tensor:
    """The user's own loss, which reads a head by its place; there may be a gap before it."""
    loss: Tensor = nn.functional.cross_entropy(output[-1], targets) + len(output) * output[0].sum()
    return loss


def test_a_loss_of_ones_own_gets_what_the_model_itself_returns() -> None:
    captured = capture(odd_forwards.HeadsWithAGap().train(), "gap", torch.randn(4, odd_forwards.WIDTH),
                       OwnLoss(second_head), TARGETS)  # fmt: skip
    refuse_unfaithful(captured, torch.randn(4, odd_forwards.WIDTH), TARGETS)
    assert len(captured.outputs) == 2
    assert isinstance(captured.loss, OwnLoss)
    other = replace(captured, loss=replace(captured.loss, tree=(Leaf(), Leaf())))
    with pytest.raises(CaptureError, match="another loss than its captured layers"):
        refuse_unfaithful(other, torch.randn(4, odd_forwards.WIDTH), TARGETS)


class ReturnsBeside(odd_forwards.Base):
    """Returns scores, and something beside them."""

    def __init__(self, beside: str) -> None:
        super().__init__()
        self.beside = beside

    def forward(self, x: Tensor) -> dict[str, Any]:
        beside = {"own": self.a.bias, "input": x, "number": x.shape[0], "nothing": None}
        scores = self.ends(self.a(x))
        return {"scores": scores.detach() if self.beside == "nothing" else scores, "beside": beside[self.beside]}


def scores_loss(output: dict[str, Any], targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output["scores"], targets)


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ("own", "returns its own 'a.bias' as it is; return a.bias [*] 1, say"),
        ("input", "returns its own 'input' as it is"),
        ("number", "returns a int that follows the minibatch, 2 and 1"),
        ("nothing", r"returns a tensor of shape \(4, 3\) and type torch.float32 that no gradient flows back from"),
    ],
)
def test_what_no_loss_of_ones_own_can_get_is_refused(beside: str, words: str) -> None:
    with pytest.raises(CaptureError, match=words):
        capture(ReturnsBeside(beside).train(), "beside", torch.randn(4, odd_forwards.WIDTH), OwnLoss(scores_loss),
                TARGETS)  # fmt: skip


def test_holding_a_model_leaves_no_mark() -> None:
    model = build(small_models.Stateful)
    sample = torch.randn(SHAPE)
    before, attributes = copy.deepcopy(model.state_dict()), set(vars(model))
    drawn = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    refuse_unfaithful(capture(model, "stateful", sample), sample, torch.tensor([0, 1, 2, 3]))
    assert torch.equal(torch.get_rng_state(), drawn[0])
    assert (random.getstate(), repr(np.random.get_state())) == drawn[1:]  # noqa: NPY002
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert set(vars(model)) == attributes
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
