"""Operations against sums done by hand."""

import torch
from torch import Tensor, nn

from profiler.capture.layer_graph import capture
from profiler.measure import stepper_for
from profiler.measure.count_work import counting
from profiler.settings import UpdateRule


def counted(function: object, *tensors: Tensor) -> int:
    with counting() as counter:
        function(*tensors)  # type: ignore[operator]
    return int(counter.get_total_flops())


def test_a_product_counts_two_operations_a_multiply_add_and_nothing_else_counts() -> None:
    assert counted(torch.mm, torch.ones(3, 5), torch.ones(5, 7)) == 2 * 3 * 5 * 7
    assert counted(torch.relu, torch.ones(10)) == 0
    assert counted(lambda a, b: a.add_(b), torch.ones(10), torch.ones(10)) == 0


def test_fused_attention_counts_its_products() -> None:
    query = torch.ones(2, 3, 5, 4, requires_grad=True)
    with counting() as counter:
        result = nn.functional.scaled_dot_product_attention(query, query, query)
    assert counter.get_total_flops() == 2 * 2 * 3 * 5 * 5 * (4 + 4)
    assert result.shape == query.shape


def test_a_step_layer_by_layer_counts_forward_and_backward() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5)).train()
    captured = capture(model, "model", torch.zeros(4, 3, 2, 2))
    batch = (torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 3]))
    stepper = stepper_for(captured, batch, UpdateRule(lr=0.1, momentum=0.9), 2)
    with counting() as counter:
        forward, backward, update = stepper.instrumented_step(counter.get_total_flops)
    first, second = 2 * 4 * 12 * 16, 2 * 4 * 16 * 5
    assert [forward[at] for at in range(4)] == [0, first, 0, second]
    assert backward[3] == 2 * second
    assert backward[1] == first, "its input needs no gradient"
    assert update[1] == 0, "no product"
