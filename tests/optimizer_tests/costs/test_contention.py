from dataclasses import replace

import pytest
from strategies import chain

from optimizer.costs import beside_neighbours
from optimizer.errors import ProfileError
from optimizer.planning import Planner
from profiler.profile import Loaded, Timing


def test_times_beside_neighbours_can_move_the_cut() -> None:
    """Alone 3 + 3 | 6 is even; beside neighbours the last layer takes twice as long."""
    alone = chain([3, 3, 3, 3])
    layers = tuple(
        replace(layer, loaded=Loaded(forward_s=layer.forward_s * factor, backward_s=0, update_s=0, slowdown=factor))
        for layer, factor in zip(alone.layers, (1, 1, 1, 3), strict=True)
    )
    found = replace(alone, layers=layers, loaded_step=Timing(median_s=18e-3, low_s=1e-2, high_s=2e-2))
    assert Planner(found, 2, 4).optimized().cuts == ("l1",)
    busy = beside_neighbours(found)
    assert Planner(busy, 2, 4).optimized().cuts == ("l2",)
    assert busy.whole_step_s == 18e-3
    assert busy.loss == found.loss


def test_a_profile_that_was_measured_alone_says_so() -> None:
    with pytest.raises(ProfileError, match="--neighbours N"):
        beside_neighbours(chain([1, 2]))
