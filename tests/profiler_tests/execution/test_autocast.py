"""A model whose layers run one by one under autocast trains as the whole model does under torch's, bit for bit."""

import copy
from collections.abc import Callable

import pytest
import small_models
import torch
import torchvision
from pipelines import RULE, SHAPE, captured_of
from torch import Tensor, nn

from profiler.capture.layer_graph import capture
from profiler.execution import Captured, WeightVersions, keeping_casts, whole
from profiler.execution.weight_update import Moments, write_next
from profiler.measure.casts import casts
from profiler.profile import INPUT

pytestmark = pytest.mark.usefixtures("pinned_process")


def wide() -> nn.Module:
    """Layers whose weights are large enough for places of their own, one of them without a bias."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(768, 700), nn.Tanh(), nn.Linear(700, 800, bias=False), nn.ReLU(),
        nn.Linear(800, small_models.CLASSES),
    )  # fmt: skip


class Attention(nn.Module):
    """Matrix products that are functions, between layers that autocast lowers and layers that it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.norm = nn.Linear(48, 96), nn.LayerNorm(48)
        self.last = nn.Linear(16 * 48, small_models.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.both(torch.reshape(x, (-1, 16, 48))).chunk(2, -1)
        weights = torch.softmax(torch.matmul(query, key.transpose(1, 2)), -1)
        return self.last(torch.flatten(self.norm(torch.matmul(weights, key)), 1))  # type: ignore[no-any-return]


class Uncut:
    """The reference: torch's autocast around the model, its autograd, and the update rule on float32 gradients.

    A weight that several layers share is one of its own in each, all kept the same.
    """

    def __init__(self, captured: Captured) -> None:
        self.model = copy.deepcopy(captured.model)
        self.copies: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
        for path, first in captured.canonical.items():
            if path != first:
                owner, _, local = path.rpartition(".")
                own = nn.Parameter(self.model.get_parameter(first).detach().clone())
                setattr(self.model.get_submodule(owner), local, own)
                self.copies[path] = own, self.model.get_parameter(first)
        self.moments = [Moments.before_any(RULE, weight) for weight in self.model.parameters()]

    def backward(self, inputs: Tensor, targets: Tensor) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.model(inputs)
        loss = nn.functional.cross_entropy(outputs.float(), targets)
        earlier = {}
        for path, (_, first) in self.copies.items():
            earlier[path], first.grad = first.grad, None
        torch.autograd.backward(loss)
        for path, (own, first) in self.copies.items():
            assert own.grad is not None
            assert first.grad is not None
            both, before = first.grad + own.grad, earlier[path]
            first.grad, own.grad = both if before is None else before + both, None
        return loss.item()

    @torch.no_grad()
    def update(self) -> None:
        for weight, moment in zip(self.model.parameters(), self.moments, strict=True):
            write_next(RULE, weight, weight.grad, moment, out=weight)
            weight.grad = None
        for own, first in self.copies.values():
            own.copy_(first)


class Layered:
    """The same model layer by layer, as a stage runs it."""

    def __init__(self, captured: Captured, slots: int) -> None:
        self.captured, self.segment = captured, whole(captured)
        tensors = [*captured.model.named_parameters(), *captured.model.named_buffers()]
        state = {path: tensor.detach().clone() for path, tensor in tensors}
        self.versions = WeightVersions(self.segment.places, self.segment.parameters, state, slots, RULE)
        self.versions.place_gradients(self.segment.placeable)
        self.used = 0

    def backward(self, inputs: Tensor, targets: Tensor) -> float:
        self.used = self.versions.bind()
        values = {INPUT: inputs}
        self.segment.forward(values, self.versions.attributes, 0, 0)
        loss = self.captured.loss([values[name] for name in self.captured.outputs], targets)
        torch.autograd.backward(loss)
        return loss.item()

    def update(self) -> None:
        self.versions.update(self.used)


def assert_equal(captured: Captured, inputs: list[Tensor], classes: int, *, slots: int, every: int) -> None:
    """Train both for some updates, of so many minibatches each."""
    uncut, layered = Uncut(captured), Layered(captured, slots)
    with keeping_casts():
        for number, images in enumerate(inputs):
            targets = torch.arange(number, number + len(images)) % classes
            assert layered.backward(images, targets) == uncut.backward(images, targets), f"loss {number}"
            gradients = layered.versions.gradients(layered.used)
            for name, weight in uncut.model.named_parameters():
                if name in uncut.copies:
                    continue
                assert weight.grad is not None
                assert torch.equal(gradients[name], weight.grad), f"gradient of {name}, minibatch {number}"
            if (number + 1) % every == 0:
                layered.update()
                uncut.update()
    for name, weight in uncut.model.named_parameters():
        assert torch.equal(layered.versions.tensors()[captured.canonical[name]], weight), name
    for name, buffer in uncut.model.named_buffers():
        assert torch.equal(layered.versions.constants[name], buffer), name


@pytest.mark.parametrize("kind", [small_models.Tied, wide, Attention, small_models.Plain])
@pytest.mark.parametrize(("slots", "every"), [(2, 1), (1, 1), (1, 3)])
def test_small_models_train_as_under_torchs_autocast(kind: Callable[[], nn.Module], slots: int, every: int) -> None:
    torch.manual_seed(1)
    inputs = [torch.randn(SHAPE) for _ in range(6)]
    assert_equal(captured_of(kind, "bf16"), inputs, small_models.CLASSES, slots=slots, every=every)


@pytest.mark.parametrize("rows", [1, 16, 33])
def test_products_have_the_same_bits_however_many_samples_there_are(rows: int) -> None:
    torch.manual_seed(1)
    inputs = [torch.randn(rows, *SHAPE[1:]) for _ in range(3)]
    assert_equal(captured_of(wide, "bf16"), inputs, small_models.CLASSES, slots=2, every=1)


def test_a_model_of_torchvision_trains_as_under_torchs_autocast() -> None:
    torch.manual_seed(1)
    model = torchvision.models.resnet18(num_classes=10)
    inputs = [torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last) for _ in range(4)]
    model = model.train().to(memory_format=torch.channels_last)
    captured = capture(model, "resnet18", inputs[0], precision="bf16")
    assert_equal(captured, inputs, 10, slots=2, every=1)


def test_a_version_is_cast_once_however_many_minibatches_run_on_it() -> None:
    layered = Layered(captured_of(small_models.Plain, "bf16"), 1)
    inputs, targets = torch.randn(SHAPE), torch.arange(4)
    weights = {tensor.data_ptr() for tensor in layered.versions.tensors().values()}
    counts = []
    with keeping_casts():
        for number in range(4):
            with casts(torch.bfloat16) as addresses:
                layered.backward(inputs, targets)
            counts.append(len(weights.intersection(addresses)))
            if number == 1:
                layered.update()
    assert counts == [6, 0, 6, 0], "three weights and three biases, for each of two versions"
