"""A backward in two computes what torch's own does in one, bit for bit, and what cannot be in two stays in one."""

import copy

import pytest
import small_models
import torch
from odd_forwards import double_output
from pipelines import SHAPE, captured_of
from torch import Tensor, nn

from profiler.capture import sliced_model
from profiler.execution import Captured, Left, WeightVersions, keeping_casts, whole
from profiler.profile import INPUT, Precision, Slicing
from profiler.settings import UpdateRule

pytestmark = pytest.mark.usefixtures("pinned_process")
RULE = UpdateRule(lr=0.0)


class Mixed(nn.Module):
    """Every kind of layer whose backward can be in two, between layers whose backward cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False)
        self.line = nn.Conv1d(8, 6, 3)
        self.space = nn.Conv3d(1, 2, (1, 2, 2))
        self.rows = nn.Linear(61, 40)
        self.embedding = nn.Embedding(40, 40)
        self.last = nn.Linear(40, small_models.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(torch.relu(self.norm(self.strided(x))))
        x = self.line(torch.flatten(x, 2)).unsqueeze(1).unsqueeze(1)
        x = self.rows(torch.flatten(self.space(x), 1, 3)) + self.embedding(torch.arange(40)[:10])
        return self.last(x.mean(1))  # type: ignore[no-any-return]


class Parts:
    """A model layer by layer, as a stage runs it, whose backward is in two or in one."""

    def __init__(self, captured: Captured, *, place: bool = False) -> None:
        self.captured, self.segment = captured, whole(captured)
        tensors = [*captured.model.named_parameters(), *captured.model.named_buffers()]
        state = {path: tensor.detach().clone() for path, tensor in tensors}
        self.versions = WeightVersions(self.segment.places, self.segment.parameters, state, 1, RULE)
        if place:
            self.versions.place_gradients(self.segment.placeable)

    def gradients(self, batches: list[tuple[Tensor, Tensor]], *, split: bool) -> tuple[dict[str, Tensor], list[str]]:
        """What two minibatches leave in each parameter, and whose gradients the backward left for later."""
        left_by: list[str] = []
        names = {id(module): path for path, module in self.captured.model.named_modules()}
        with keeping_casts():
            for inputs, targets in batches:
                self.versions.bind()
                values = {INPUT: inputs}
                paths = self.segment.separable
                with self.versions.leaving(paths if split else ()) as left:
                    self.segment.forward(values, self.versions.attributes, 0, 0)
                    loss = self.captured.loss([values[name] for name in self.captured.outputs], targets)
                    torch.autograd.backward(loss)
                    left_by += [names[id(owner_of(self.captured.model, own))] for own in left]
                while left:
                    left.pop(0).add()
        found = {path: tensor.clone() for path, tensor in self.versions.gradients(0).items()}
        self.versions.drop_gradients()
        return found, left_by


def owner_of(model: nn.Module, left: Left) -> nn.Module:
    return next(module for module in model.modules() if getattr(module, "weight", None) is left.parameters[0])


def batches(count: int = 2) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(5)
    return [(torch.randn(SHAPE), torch.arange(SHAPE[0]) % small_models.CLASSES) for _ in range(count)]


def assert_same(captured: Captured, *, place: bool = False) -> set[str]:
    parts = Parts(captured, place=place)
    given = batches()
    expected, nothing = parts.gradients(given, split=False)
    found, left = parts.gradients(given, split=True)
    assert not nothing
    assert found.keys() == expected.keys()
    for path, tensor in expected.items():
        assert torch.equal(found[path], tensor), path
    return set(left)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("place", [False, True])
def test_every_kind_of_layer_has_torchs_gradients(precision: Precision, place: bool) -> None:  # noqa: FBT001
    left = assert_same(captured_of(Mixed, precision), place=place)
    assert left == {"strided", "grouped", "line", "space", "rows", "last"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_large_weights_in_their_places_have_torchs_gradients(precision: Precision) -> None:
    wide = nn.Sequential(nn.Flatten(), nn.Linear(768, 600), nn.Tanh(), nn.Linear(600, small_models.CLASSES))
    assert assert_same(captured_of(lambda: copy.deepcopy(wide), precision), place=True) == {"1", "3"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_blocks_of_a_layer_are_in_two_as_well(precision: Precision) -> None:
    captured = sliced_model(captured_of(small_models.Residual, precision), Slicing("conv1=2"))
    left = assert_same(captured)
    assert {"conv2", "shortcut", "fc"} < left
    assert len(left) >= 6, "the blocks of conv1, too"


class Odd(nn.Module):
    """Layers whose backward stays in one: hooked, run twice, sharing a weight, frozen, padded with other than zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.hooked, self.twice = nn.Linear(48, 48), nn.Linear(48, 48)
        self.first, self.second = nn.Linear(48, 48), nn.Linear(48, 48)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(48, 48)
        self.frozen.weight.requires_grad = False
        self.circular = nn.Conv1d(16, 16, 3, padding=1, padding_mode="circular")
        self.same = nn.Conv1d(16, 16, 3, padding="same")
        self.last = nn.Linear(768, small_models.CLASSES)
        self.hooked.register_forward_hook(double_output)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hooked(torch.reshape(x, (-1, 16, 48)))
        x = self.second(self.first(self.twice(self.twice(x))))
        return self.last(torch.flatten(self.same(self.circular(self.frozen(x))), 1))  # type: ignore[no-any-return]


def test_what_cannot_be_in_two_stays_in_one() -> None:
    assert assert_same(captured_of(Odd)) == {"last"}


def test_a_backward_that_is_itself_differentiated_stays_in_one() -> None:
    parts = Parts(captured_of(small_models.Plain))
    (inputs, targets) = batches(1)[0]
    grads = []
    for split in (False, True):
        parts.versions.bind()
        leaf = inputs.clone().requires_grad_()
        values = {INPUT: leaf}
        with parts.versions.leaving(parts.segment.separable if split else ()) as left:
            parts.segment.forward(values, parts.versions.attributes, 0, 0)
            loss = parts.captured.loss([values[name] for name in parts.captured.outputs], targets)
            (slope,) = torch.autograd.grad(loss, [leaf], create_graph=True)
            assert not left
            torch.autograd.backward(slope.square().sum())
            while left:
                left.pop(0).add()
        grads.append(parts.versions.gradients(0))
        parts.versions.drop_gradients()
    assert all(torch.equal(tensor, grads[1][path]) for path, tensor in grads[0].items())
