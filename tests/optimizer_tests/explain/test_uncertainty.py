"""How sure a plan is, where that is known by hand."""

from collections.abc import Sequence
from dataclasses import replace

from strategies import chain

from optimizer.explain.uncertainty import Confidence, confidence
from optimizer.planning import Planner
from profiler.profile import Profile
from profiler.rounds.statistics import timing


def with_samples(found: Profile, samples_s: Sequence[Sequence[float]]) -> Profile:
    """Give each layer's forward its samples, and the backward and the update none that take time."""
    layers = []
    for layer, samples in zip(found.layers, samples_s, strict=True):
        forward = timing(samples)
        none = timing([0.0] * len(samples))
        layers.append(
            replace(layer, forward_s=forward.median_s, backward_s=0.0, forward=forward, backward=none, update=none)
        )
    return replace(found, layers=tuple(layers))


def sure(found: Profile, stages: int = 2) -> Confidence:
    planner = Planner(found.costs(), stages, 8)
    result = confidence(planner.problem, planner.space.lattice, planner.best.bounds, planner.model)
    assert result is not None
    return result


def test_a_plan_without_noise_is_sure() -> None:
    found = sure(with_samples(chain([1, 2, 3, 4]), [[time / 1e3] * 9 for time in (1, 2, 3, 4)]))
    assert (found.stays_best, found.expected_regret, found.regret_95) == (1.0, 0.0, 0.0)
    assert all(one.regret == 0 and one.half_width_s == 0 for one in found.layers)


def test_a_round_that_is_slow_everywhere_changes_nothing() -> None:
    """The rounds of a bootstrap are the same for all layers."""
    rounds = [1.0, 1.5, 2.0, 0.5, 3.0, 1.2, 0.8]
    found = sure(with_samples(chain([1, 2, 3, 4]), [[time * one / 1e3 for one in rounds] for time in (1, 2, 3, 4)]))
    assert found.stays_best == 1.0
    assert found.layers[0].half_width_s > 0


def test_a_layer_on_the_fence_makes_the_plan_unsure_and_is_named() -> None:
    """Layer l1 takes 1 or 4 ms: cut behind it or before it, whichever is drawn."""
    samples = [[4e-3] * 10, [1e-3] * 6 + [4e-3] * 4, [4e-3] * 10]
    found = sure(with_samples(chain([4, 1, 4]), samples))
    assert found.layers[0].layer == "l1"
    assert found.stays_best == 1.0, "l1 stands with either neighbour, and the loss makes the last stage the slower one"
    samples = [[4.0e-3] * 10, [1e-3] * 6 + [4e-3] * 4, [0.1e-3] * 10, [4.0e-3] * 10]
    unsure = sure(with_samples(chain([4, 1, 0.1, 4]), samples))
    assert unsure.layers[0].layer == "l1"


def test_without_samples_nothing_is_said() -> None:
    planner = Planner(chain([1, 2]).costs(), 2, 8)
    assert confidence(planner.problem, planner.space.lattice, planner.best.bounds, planner.model) is None
