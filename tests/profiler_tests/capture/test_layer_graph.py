import pickle

import pytest
import small_models
import torch
from torch import Tensor, nn

from profiler.capture.layer_graph import capture
from profiler.errors import CaptureError
from profiler.execution import Captured
from profiler.execution.graph import Apart, out_of_place

SIZE = small_models.IMAGE_SIZE


def captured(model: nn.Module, batch_size: int = 2) -> Captured:
    return capture(model.train(), "model", torch.zeros(batch_size, 3, SIZE, SIZE))


def order_edges(found: Captured) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in found.edges if edge.kind == "order"}


def test_a_layer_is_named_by_module_path_or_by_function() -> None:
    names = captured(small_models.Residual()).layer_names
    assert names[:4] == ("stem", "stem_norm", "relu", "conv1")
    assert "relu_1" in names, "a module's second call gets a number"
    assert "add" in names
    assert "flatten" in names


def test_an_in_place_layer_runs_after_earlier_readers_of_what_it_overwrites() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.early, self.relu = nn.Conv2d(3, 3, 1), nn.AvgPool2d(1), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            y = self.early(x)
            self.relu(x)
            return (x + y).flatten(1)  # reads what ReLU made of x

    found = captured(Overwriting())
    assert ("early", "relu") in order_edges(found)
    assert found.overwrites == {"relu": "conv"}
    (add,) = [op for op in found.operations if op.name == "add"]
    assert add.reads() == ["relu", "early"], "a later reader of an overwritten value reads the layer that overwrote it"


class Adding(nn.Module):
    """Overwrites what a convolution made, by a method that has a twin which does not, and by index, which has none."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.flatten = nn.Conv2d(3, 3, 1), nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).add_(1.0)
        x += 1.0
        x[:, 0] = 0.0
        y: Tensor = self.flatten(x)
        return y


def test_what_can_write_to_a_new_tensor_instead_may_come_first_and_what_cannot_stays_with_what_it_overwrites() -> None:
    found = captured(Adding())
    assert found.layer_names == ("conv", "add", "add_1", "setitem", "flatten")
    assert found.inseparable == (("add", "add_1", "conv", "setitem"),)
    first, second, last, _ = found.operations[1:]
    assert [apart and apart.target for apart in map(out_of_place, (first, second, last))] == [
        Apart("add"), Apart("add"), None,
    ]  # fmt: skip
    lower = torch.ones(2, dtype=torch.bfloat16)
    assert torch.equal(Apart("add")(lower, torch.full((2,), 1e-3)), lower.clone().add_(torch.full((2,), 1e-3)))


class SharedConvolution(small_models.Plain):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.other.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.other(self.one(x).relu()))


def test_convolutions_that_share_a_parameter_stay_together() -> None:
    found = captured(SharedConvolution())
    assert ("one", "other") in found.inseparable


def test_a_weight_that_linear_layers_share_is_lent_by_the_first() -> None:
    found = captured(small_models.Tied())
    assert found.inseparable == (("first", "first.weight"),)
    readers = [operation.name for operation in found.operations if "first.weight" in operation.reads()]
    assert readers == ["second"]
    assert found.canonical["second.weight"] == "first.weight"
    assert found.parameters["first"] == ("first.weight", "first.bias")
    assert found.parameters["second"] == ("second.bias",), "a shared parameter counts once"
    assert found.parameters["mul"] == ("scale",)


def test_no_gradient_flows_where_nothing_upstream_learns() -> None:
    specs = captured(nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(48, 5))).specs
    assert [specs[name].gradient for name in ("input", "0", "1", "2")] == [False, False, False, True]


def test_functions_that_torch_makes_when_it_is_imported_can_be_sent() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(48, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(nn.functional.max_pool2d(x, 4).flatten(1))

    first = captured(Pooled()).operations[0]
    copy = pickle.loads(pickle.dumps(first))
    assert copy.kind == "max_pool2d"
    image = torch.randn(1, 3, 4, 4)
    assert torch.equal(copy.target(image, 4), nn.functional.max_pool2d(image, 4))


def test_a_tensor_keeps_its_memory_format() -> None:
    model = small_models.Residual().to(memory_format=torch.channels_last).train()
    sample = torch.zeros(2, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    spec = capture(model, "model", sample).specs["stem"]
    assert spec.stride == (8 * SIZE * SIZE, 1, 8 * SIZE, 8)


def test_the_digest_tells_models_apart_and_is_the_same_for_the_same() -> None:
    assert captured(small_models.Residual()).digest == captured(small_models.Residual()).digest
    assert captured(small_models.Residual()).digest == captured(small_models.Residual(), batch_size=3).digest
    wider = small_models.Residual()
    wider.stem.dilation, wider.stem.padding = (2, 2), (2, 2)
    assert captured(small_models.Residual()).digest != captured(wider).digest, "settings count, though no shape changes"
    assert captured(small_models.Residual()).digest != captured(small_models.Tied()).digest


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), "another number of channels: give --sample-shape 1,16,16"),
        (small_models.Cast(), "uses torch.autocast"),
        (small_models.Pair(), "for each head"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(0)), "returns a tensor of shape"),
        (nn.Sequential(), "no layers"),
        (nn.Flatten(), "nothing to train"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(3, 4)), "layer '2' (Linear)"),
    ],
)
def test_what_cannot_be_captured_is_refused_in_one_sentence(model: nn.Module, words: str) -> None:
    with pytest.raises(CaptureError, match="model 'model'") as refused:
        captured(model)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_in_place_layer_with_a_switch_may_come_first() -> None:
    found = captured(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(768, 5)))
    assert found.overwrites == {"0": "input"}


def test_overwriting_the_input_without_a_switch_is_refused() -> None:
    class Overwriting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x[:, 0] = 0.0
            return x.flatten(1)

    with pytest.raises(CaptureError, match="overwrites the model's input"):
        captured(Overwriting())
