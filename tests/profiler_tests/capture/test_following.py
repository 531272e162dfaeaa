"""Models that are followed as they run: what depends on shapes, several inputs, outputs of any shape."""

import copy
import pickle

import pytest
import small_models
import torch
from loaders import batch_of_two_inputs
from torch import Tensor, nn
from torch.nn import functional

from profiler.capture import live_model, refuse_unfaithful
from profiler.capture.following import follow
from profiler.capture.layer_graph import capture
from profiler.capture.live import captured_live
from profiler.errors import CaptureError, ModelError
from profiler.execution import Inputs
from profiler.profile import BF16_FORM

WIDTH, SAMPLES = 8, 4
TARGETS = torch.tensor([0, 1, 2, 3])


class Base(nn.Module):
    """Three linear layers; what is between them is what is tried."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 5)

    def between(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.c(self.b(self.between(self.a(x))))
        return scores


class Loop(Base):
    def between(self, x: Tensor) -> Tensor:
        parts = x.reshape(x.shape[0] * 2, -1)
        return torch.cat([part + number for number, part in enumerate(parts.view(x.shape[0], 2, -1).unbind(1))], 1)


class Written(Base):
    """Writes to a part of a constant that follows the minibatch, to a view, and to its own output."""

    def between(self, x: Tensor) -> Tensor:
        made = torch.zeros(len(x), WIDTH)
        made[:, 1:3] = x[:, 1:3]
        view = made[:, 3]
        view += x[:, 0]
        return made + torch.ones(len(x), 1).cumsum(0) + torch.arange(WIDTH).float().mul_(2)


class Unpacks(Base):
    def between(self, x: Tensor) -> Tensor:
        largest, _ = x.max(1, keepdim=True)
        return x - largest + x.T.mT + x.new_full((len(x), 1), 3.0)


class Quiet(Base):
    """Switches gradients off around what no parameter learns from."""

    def between(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            places = torch.arange(WIDTH) / len(x[0])
        return x + places


class Asks(Base):
    """Takes a shortcut that depends on values, unless it is traced."""

    def between(self, x: Tensor) -> Tensor:
        if not torch.jit.is_tracing() and (x > -1e9).all():  # type: ignore[no-untyped-call]
            return x * 1.5
        return torch.where(x > -1e9, x * 1.5, x)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y * 2 if float(y.detach().sum()) > -1e9 else y


class Opaque(Base):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def between(self, x: Tensor) -> Tensor:
        inside: Tensor = self.inner(x)
        return inside


@pytest.mark.parametrize("kind", [Loop, Written, Unpacks, Quiet, Asks, Opaque])
def test_what_is_followed_agrees_with_its_model_bit_for_bit(kind: type[nn.Module]) -> None:
    """On minibatches of other values and other sizes, gradients and buffers, too (``refuse_unfaithful``)."""
    inputs = torch.randn(SAMPLES, WIDTH)
    live = live_model(kind().train(), (inputs, TARGETS % 2))
    captured = captured_live(live)
    refuse_unfaithful(captured, live.inputs, live.targets)
    operations, returned, _ = follow(captured.model, "it", Inputs(), inputs)
    assert returned.layer == operations[-1].name
    for samples in (1, 2, 3, 9):
        others = torch.randn(samples, WIDTH)
        refuse_unfaithful(captured, others, torch.zeros(samples, dtype=torch.int64))


def test_a_module_that_cannot_be_followed_is_one_layer_and_the_reason_is_kept() -> None:
    operations, _, _ = follow(Opaque(), "it", Inputs(), torch.randn(SAMPLES, WIDTH))
    (inner,) = [operation for operation in operations if operation.opaque]
    assert inner.name == "inner"
    assert "reads the values of a tensor with float() (test_following.py, line " in inner.opaque


def test_where_a_model_switches_autocast_off_a_layer_stays_in_float32() -> None:
    model, sample = small_models.CastOff().train(), torch.randn(SAMPLES, 3, 16, 16)
    lower = capture(model, "it", sample, precision=BF16_FORM.precision)
    assert {operation.autocast for operation in lower.operations} == {"off"}
    assert {spec.dtype for spec in lower.specs.values()} == {torch.float32}


class Pair(nn.Module):
    """Returns its scores and its loss in a tuple, as many scripts do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.linear(inputs)
        return logits, functional.cross_entropy(logits, labels)


def test_a_loss_in_a_tuple_is_refused_with_the_name_that_it_has_to_have() -> None:
    sample = {"inputs": torch.zeros(4, WIDTH), "labels": torch.zeros(4, dtype=torch.int64)}
    with pytest.raises(CaptureError) as refused:
        captured_live(live_model(Pair(), sample, "model"))
    assert "it returned a tuple of 2; return a dict or a dataclass that calls the loss `loss`" in str(refused.value)
    assert "or give loss=function(output, targets)" in str(refused.value)


def test_models_in_half_precision_are_refused() -> None:
    for model in (small_models.TwoInputs().bfloat16(), small_models.TwoInputs().half()):
        with pytest.raises(ModelError, match=r"'tokens.weight' is of torch\.\w+; give the model in float32"):
            live_model(model, batch_of_two_inputs(SAMPLES, 0), "model")


def test_a_copy_of_a_module_with_parametrizations_leaves_the_class_of_the_users_as_it_was() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH))
    kind, names = type(layer), vars(type(layer)).keys() | {"__slotnames__"}  # in which Python notes what it has seen
    captured = live_model(layer, (torch.randn(SAMPLES, WIDTH), torch.zeros(SAMPLES, dtype=torch.int64))).model
    assert type(layer) is kind
    assert vars(kind).keys() | {"__slotnames__"} == names
    copied = copy.deepcopy(captured)
    inputs = torch.randn(SAMPLES, WIDTH)
    for own in (captured, copied, pickle.loads(pickle.dumps(captured)), pickle.loads(pickle.dumps(copied))):
        assert torch.equal(own(inputs), layer(inputs))
        assert isinstance(own, nn.Linear)
        assert nn.utils.parametrize.type_before_parametrizations(own) is nn.Linear
    nn.utils.parametrize.remove_parametrizations(captured, "weight")
    assert type(captured) is nn.Linear
    assert torch.equal(captured(inputs), layer(inputs))
