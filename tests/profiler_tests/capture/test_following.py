"""Models that are followed as they run: what depends on shapes, several inputs, outputs of any shape."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import small_models
import torch
from torch import Tensor, nn
from torch.nn import functional

from profiler.capture import live_model, refuse_unfaithful
from profiler.capture.following import follow
from profiler.capture.layer_graph import capture
from profiler.capture.live import captured_live
from profiler.errors import CaptureError, ModelError
from profiler.execution import Captured, Inputs
from profiler.profile import BF16_FORM

WIDTH, SAMPLES, LENGTH = 8, 4, 6
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


class PerSample(Base):
    """A loop over samples, whose length is the minibatch's."""

    def between(self, x: Tensor) -> Tensor:
        return torch.stack([row * 2 for row in x])


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


FOLLOWED = [
    Loop, Written, Unpacks, Quiet, Asks, Opaque,
]  # fmt: skip


def followed(model: nn.Module, sample: Any, loss: Any = None) -> Captured:
    live = live_model(model, sample, loss)
    captured = captured_live(live)
    refuse_unfaithful(captured, live.inputs, live.targets)
    return captured


@pytest.mark.parametrize("kind", FOLLOWED)
def test_what_is_followed_agrees_with_its_model_bit_for_bit(kind: type[nn.Module]) -> None:
    """On minibatches of other values and other sizes, gradients and buffers, too (``refuse_unfaithful``)."""
    model = kind().train()
    inputs = torch.randn(SAMPLES, WIDTH)
    captured = followed(model, (inputs, TARGETS % 2))
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


class Numpy(Base):
    def between(self, x: Tensor) -> Tensor:
        return x + torch.from_numpy(x.detach().numpy() * 2)


class OwnGenerator(Base):
    def between(self, x: Tensor) -> Tensor:
        return x + torch.rand(1, generator=torch.Generator().manual_seed(1)) if x.shape[1] else x


class NumpyRandom(Base):
    def between(self, x: Tensor) -> Tensor:
        return x * float(np.random.random()) if x.shape[1] else x  # noqa: NPY002


class Hidden(Base):
    def __init__(self) -> None:
        super().__init__()
        self.others = [nn.Linear(WIDTH, WIDTH)]

    def between(self, x: Tensor) -> Tensor:
        return self.others[0](x) if x.shape[1] else x


class Scripted(Base):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.jit.script(nn.Linear(WIDTH, WIDTH))

    def between(self, x: Tensor) -> Tensor:
        return self.inner(x) if x.shape[1] else x


class Cache(Base):
    def forward(self, x: Tensor) -> Any:
        y = self.a(x) if x.shape[1] else x
        return self.c(y), slice(0, 1)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Numpy, "reads the values of a tensor with numpy() (test_following.py, line "),
        (OwnGenerator, "a generator of its own"),
        (NumpyRandom, "other numbers from the generator of numpy"),
        (PerSample, "for one minibatch"),
        (Hidden, "a Linear that the model does not hold as a submodule"),
        (Scripted, "scripted"),
        (Cache, "it returns a slice, which no stage hands on"),
    ],
)
def test_what_a_record_would_lose_is_refused_with_its_place(kind: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises((CaptureError, ModelError)) as refused:
        followed(kind(), torch.randn(SAMPLES, WIDTH))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


class TwoTowers(nn.Module):
    """Token ids with a mask, and a table of numbers; a loss where labels are given."""

    def __init__(self, output: Callable[..., Any] = dict) -> None:
        super().__init__()
        self.output = output
        self.tokens, self.table, self.head = nn.Embedding(10, WIDTH), nn.Linear(3, WIDTH), nn.Linear(2 * WIDTH, 5)

    def forward(
        self, ids: Tensor, mask: Tensor | None = None, *, table: dict[str, Any], labels: Tensor | None = None
    ) -> Any:
        embedded = self.tokens(ids)
        if mask is not None:
            embedded = embedded * mask[..., None]
        left = embedded.sum(1)
        right = self.table(table["numbers"][0]) * (2.0 if table["twice"] else 1.0)
        logits = self.head(torch.cat([left, right], 1))
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return self.output(loss=loss, logits=logits)


def batch(samples: int = SAMPLES, **more: Any) -> dict[str, Any]:
    drawn = torch.Generator().manual_seed(samples)
    return {
        "ids": torch.randint(10, (samples, LENGTH), generator=drawn),
        "mask": torch.rand(samples, LENGTH, generator=drawn) > 0.3,
        "table": {"numbers": [torch.randn(samples, 3, generator=drawn)], "twice": True},
    } | more


@pytest.mark.parametrize(
    ("sample", "loss", "words"),
    [
        (
            {"ids": torch.zeros(4, 3, dtype=torch.int64), "odd": torch.zeros(4)},
            None,
            "'odd', which the model's forward",
        ),
        (
            {"ids": torch.zeros(4, 3, dtype=torch.int64), "mask": torch.zeros(3, 3)},
            None,
            "shapes ids (4, 3), mask (3, 3); each has a sample",
        ),
        (batch(), "model", "without one; give it the labels"),
        ({"ids": torch.zeros(4, 3, dtype=torch.int64)}, None, "missing 1 required keyword-only argument: 'table'"),
    ],
)
def test_odd_samples_are_refused_in_one_sentence(sample: Any, loss: Any, words: str) -> None:
    with pytest.raises((ModelError, CaptureError)) as refused:
        captured_live(live_model(TwoTowers(), sample, loss))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


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
    for model in (TwoTowers().bfloat16(), TwoTowers().half()):
        with pytest.raises(ModelError, match=r"'tokens.weight' is of torch\.\w+; give the model in float32"):
            live_model(model, batch(labels=TARGETS), "model")


def test_a_copy_of_a_module_with_parametrizations_leaves_the_class_of_the_users_as_it_was() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH))
    kind, names = type(layer), vars(type(layer)).keys() | {"__slotnames__"}  # in which Python notes what it has seen
    captured = live_model(layer, (torch.randn(SAMPLES, WIDTH), torch.zeros(SAMPLES, dtype=torch.int64))).model
    assert type(layer) is kind
    assert vars(kind).keys() | {"__slotnames__"} == names
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(layer)
    copied = copy.deepcopy(captured)
    inputs = torch.randn(SAMPLES, WIDTH)
    for own in (captured, copied, pickle.loads(pickle.dumps(captured)), pickle.loads(pickle.dumps(copied))):
        assert torch.equal(own(inputs), layer(inputs))
        assert isinstance(own, nn.Linear)
        assert nn.utils.parametrize.type_before_parametrizations(own) is nn.Linear
    nn.utils.parametrize.remove_parametrizations(captured, "weight")
    assert type(captured) is nn.Linear
    assert torch.equal(captured(inputs), layer(inputs))
