"""The clock is a counter here: every reading is one second later than the last, so times are exact."""

from itertools import count

import small_models
import torch
from torch import nn

from profiler.capture.layer_graph import capture
from profiler.measure import stepper_for
from profiler.measure.stepper import WARM_UP_ROUNDS, Stepper
from profiler.rounds import LOSS, Samples
from profiler.settings import UpdateRule

SHAPE = (2, 3, small_models.IMAGE_SIZE, small_models.IMAGE_SIZE)


def stepper(model: torch.nn.Module) -> Stepper:
    captured = capture(model.train(), "model", torch.zeros(SHAPE))
    batch = (torch.randn(SHAPE), torch.tensor([0, 1]))
    rule = UpdateRule(lr=0.01, momentum=0.9)
    made = stepper_for(captured, batch, rule, 2)
    made.clock, made.cpu_clock = count(0.0).__next__, count(0.0).__next__
    return made


def test_each_layer_gets_a_sample_a_round_and_warm_up_is_dropped() -> None:
    found = stepper(small_models.Residual())
    found.warm_up()
    samples = Samples()
    for _ in range(3):
        found.take(samples)
    assert found.minibatch == 2 * (WARM_UP_ROUNDS + 3)
    layers = len(found.segment.operations)
    assert samples.whole_step == [1.0] * 3, "the plain step reads the clock twice and nothing in between does"
    assert set(samples.forward) == {LOSS, *range(layers)}
    assert set(samples.backward) == {LOSS, *range(layers)}
    assert set(samples.update) == set(range(layers))
    assert all(len(times) == 3 for times in (*samples.forward.values(), *samples.backward.values()))


def test_the_backward_times_add_up_to_the_whole_backward() -> None:
    found = stepper(small_models.Residual())
    _, backward, _ = found.instrumented_step()
    # The clock advances by one a reading: start, one reading a hooked layer, end.
    hooked = len(found.segment.operations)
    assert sum(backward.values()) == hooked + 1
    assert all(backward[position] == 1.0 for position in range(hooked))


def test_the_instrumented_step_trains_as_the_plain_step_does() -> None:
    steppers = []
    for _ in range(2):
        torch.manual_seed(4)
        steppers.append(stepper(small_models.Tied()))  # which looks at all layers at once
    for _ in range(3):
        steppers[0].plain_step()
        steppers[1].instrumented_step()
    plain, instrumented = (one.versions.tensors() for one in steppers)
    assert all(torch.allclose(plain[path], instrumented[path]) for path in plain)


def test_an_update_in_place_is_timed_beside_one_that_is_not() -> None:
    found = stepper(small_models.Residual())
    before = {name: tensor.clone() for name, tensor in found.versions.tensors().items()}
    written: list[str] = []
    real, clock = found.versions.write, found.clock

    def write(used: int, paths: list[str], *, in_place: bool = False) -> None:
        written.append("in place" if in_place else "beside")
        real(used, paths, in_place=in_place)
        for _ in range(0 if in_place else 3):
            clock()

    found.versions.write = write  # type: ignore[method-assign,assignment]
    found.versions.rule = UpdateRule(lr=0.0, momentum=0.9)
    shares = dict(zip([one.name for one in found.segment.operations], found.in_place_shares(), strict=True))
    assert shares["conv1"] == 0.25, "a clock that is read once takes 1 s, and 4 s when it is read thrice more"
    assert shares["relu"] == 1.0, "what has no parameters has no update"
    assert set(written) == {"beside", "in place"}
    assert not found.versions.gradients(0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in found.versions.tensors().items())


def test_adding_up_is_timed_beside_writing_anew_and_leaves_no_trace() -> None:
    found = stepper(small_models.Residual())
    before = {name: tensor.clone() for name, tensor in found.versions.tensors().items()}
    added = dict(zip([one.name for one in found.segment.operations], found.accumulation_s(), strict=True))
    assert added["conv1"] == 1.0, "a clock that goes on by 1 s whenever it is read: adding is timed, and nothing anew"
    assert added["relu"] == 0.0, "what has no parameters has nothing to add"
    assert not found.versions.gradients(found.versions.newest)
    assert all(torch.equal(tensor, before[name]) for name, tensor in found.versions.tensors().items())


def test_where_gradients_have_a_place_only_the_difference_of_two_products_counts() -> None:
    found = stepper(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 400)))
    found.versions.place_gradients(found.segment.placeable)
    assert found.accumulation_s() == [0.0, 0.0], "either product takes one reading of the clock"


def test_a_split_step_tells_what_each_layer_leaves_and_trains_the_same() -> None:
    steppers = []
    for _ in range(2):
        torch.manual_seed(3)
        steppers.append(stepper(small_models.Residual()))
    ours, theirs = steppers
    for _ in range(2):
        _, backward, weights, held = ours.split_step()
        theirs.instrumented_step()
    names = [operation.name for operation in ours.segment.operations]
    split = {names[at] for at in weights}
    assert split == {"stem", "conv1", "conv2", "shortcut", "fc"}
    assert set(held) == set(weights)
    assert all(weights[at] == 1.0 for at in weights), "a clock that goes on by 1 s whenever it is read"
    assert set(backward) >= set(weights)
    assert all(held.values())
    for path, tensor in ours.versions.tensors().items():
        assert torch.equal(tensor, theirs.versions.tensors()[path]), path
