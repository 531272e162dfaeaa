import pickle

import small_models
import torch
from torch import nn

from profiler.capture.layer_graph import capture
from profiler.execution import Captured, WeightVersions, segment_of, whole
from profiler.profile import INPUT
from profiler.settings import UpdateRule

SHAPE = (2, 3, small_models.IMAGE_SIZE, small_models.IMAGE_SIZE)


def captured() -> Captured:
    torch.manual_seed(0)
    return capture(small_models.Residual().train(), "residual", torch.zeros(SHAPE))


def test_the_segment_of_all_layers_computes_what_the_model_computes() -> None:
    found = captured()
    found.model.eval()
    images = torch.randn(SHAPE)
    values = {INPUT: images}
    whole(found).forward(values, {}, 0, 0)
    assert torch.equal(values[found.outputs[0]], found.model(images))


def test_values_die_after_their_last_reader() -> None:
    found = captured()
    values = {INPUT: torch.randn(SHAPE)}
    whole(found).forward(values, {}, 0, 0)
    assert set(values) == set(found.outputs)


def test_an_in_place_layer_on_a_received_value_writes_to_a_new_tensor() -> None:
    found = captured()
    part = segment_of(found, ["relu", "conv1"], ["stem_norm"], ["relu", "conv1"])
    received = torch.randn(2, 8, 16, 16)
    before = received.clone()
    leaf = received.detach().requires_grad_()
    values = {"stem_norm": leaf}
    part.forward(values, {}, 0, 0)
    assert torch.equal(received, before)
    assert torch.equal(values["relu"], before.relu())
    relu = found.operations[2].target
    assert isinstance(relu, nn.ReLU)
    assert relu.inplace, "the captured model keeps its switch"


def test_an_in_place_layer_behind_its_maker_stays_in_place() -> None:
    part = segment_of(captured(), ["stem_norm", "relu"], ["stem"], ["relu"])
    relu = part.operations[1].target
    assert isinstance(relu, nn.ReLU)
    assert relu.inplace


def test_a_segment_survives_pickling_with_its_places() -> None:
    part = segment_of(captured(), ["conv1", "norm1"], ["relu"], ["norm1"])
    copy = pickle.loads(pickle.dumps(part))
    places = {place.path: place.module for place in copy.places}
    assert places["conv1.weight"] is copy.operations[0].target
    assert part.parameters == ("conv1.weight", "norm1.weight", "norm1.bias")
    assert "norm1.running_mean" in part.constants


def test_a_lent_weight_is_bound_where_it_is_lent() -> None:
    found = capture(small_models.Tied().train(), "tied", torch.zeros(SHAPE))
    part = whole(found)
    state = dict(found.model.named_parameters())
    versions = WeightVersions(part.places, part.parameters, state, 2, UpdateRule(lr=0.1, momentum=0.9))
    versions.bind()
    model = found.model
    assert isinstance(model, small_models.Tied)
    assert model.first.weight is versions.attributes["first.weight"]
    assert set(versions.attributes) == {"scale", "first.weight", "second.bias"}
