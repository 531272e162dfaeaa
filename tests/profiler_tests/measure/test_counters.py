"""Operations and bytes against sums done by hand."""

import pytest
import torch
from torch import Tensor, nn

from profiler.capture.layer_graph import capture
from profiler.measure import Clocks, stepper_for
from profiler.measure.counters import Work
from profiler.settings import UpdateRule


def counted(function: object, *tensors: Tensor) -> tuple[int, int]:
    work = Work()
    with work.counting():
        function(*tensors)  # type: ignore[operator]
    return work.flops(), work.touched_bytes()


def test_a_product_counts_two_operations_a_multiply_add() -> None:
    assert counted(torch.mm, torch.ones(3, 5), torch.ones(5, 7)) == (2 * 3 * 5 * 7, 4 * (15 + 35 + 21))


def test_an_elementwise_operator_counts_one_an_element() -> None:
    assert counted(torch.relu, torch.ones(10)) == (10, 4 * 20)
    assert counted(lambda a, b: a.add_(b), torch.ones(10), torch.ones(10)) == (10, 4 * 30), "a is read and written"
    assert counted(lambda a, b, c: torch.add(a, b, out=c), *torch.ones(3, 10)) == (10, 4 * 30), "c is written only"


def test_an_expanded_tensor_takes_what_it_takes_in_memory() -> None:
    assert counted(torch.relu, torch.ones(1).expand(100)) == (100, 4 * 101)


def test_views_and_allocations_cost_nothing_and_copies_no_operations() -> None:
    assert counted(lambda a: a.view(5, 2).t().detach(), torch.ones(10)) == (0, 0)
    assert counted(torch.empty_like, torch.ones(10)) == (0, 0)
    assert counted(torch.clone, torch.ones(10)) == (0, 80)


def test_a_look_up_touches_the_rows_that_it_looks_up() -> None:
    table, ids = torch.ones(1000, 4), torch.tensor([1, 2, 3])
    assert counted(nn.functional.embedding, ids, table) == (0, 3 * 8 + 2 * 3 * 4 * 4)


def test_fused_attention_counts_its_products() -> None:
    query = torch.ones(2, 3, 5, 4, requires_grad=True)
    work = Work()
    with work.counting():
        result = nn.functional.scaled_dot_product_attention(query, query, query)
    products = 2 * 2 * 3 * 5 * 5 * (4 + 4)
    assert products <= work.flops() < 2 * products, "the softmax counts little beside the products"
    assert result.shape == query.shape


def test_recurrent_and_bilinear_layers_count_their_products() -> None:
    layer, inputs = nn.LSTM(16, 8, batch_first=True), torch.ones(2, 5, 16)
    work = Work()
    with work.counting():
        output, _ = layer(inputs)
        forward = work.flops()
        output.sum().backward()
    products = 2 * 2 * 5 * 4 * 8 * (16 + 8)
    assert products <= forward < 1.2 * products
    assert 2 * products <= work.flops() - forward < 2.5 * products
    bilinear = nn.Bilinear(6, 7, 8)
    flops, _ = counted(bilinear, torch.ones(3, 6), torch.ones(3, 7))
    assert 2 * 3 * 6 * 7 * 8 <= flops < 1.2 * 2 * 3 * 6 * 7 * 8


def test_a_step_layer_by_layer_counts_forward_and_backward() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5)).train()
    captured = capture(model, "model", torch.zeros(4, 3, 2, 2))
    batch = (torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 3]))
    stepper = stepper_for(captured, batch, UpdateRule(lr=0.1, momentum=0.9, correct_staleness=False), 2, Clocks())
    work = Work()
    with work.counting():
        forward, backward, update = stepper.instrumented_step(work.flops)
    first, second = 2 * 4 * 12 * 16, 2 * 4 * 16 * 5
    assert [forward[at] for at in range(4)] == [0, first, 4 * 16, second]
    # The first layer's input needs no gradient, so its backward is one product and a sum for the bias.
    assert backward[3] == pytest.approx(2 * second, abs=4 * 5 * 4)
    assert backward[1] == pytest.approx(first, abs=4 * 16 * 2)
    assert update[1] == 2 * (12 * 16 + 16), "momentum and weight: an operation each for every parameter"
