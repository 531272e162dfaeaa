"""1F1B against its own promises: order, depth, and slots that are never overwritten while somebody needs them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.schedule import Action, depth, one_forward_one_backward


def happens_before(stages: int, minibatches: int) -> dict[Action, set[Action]]:
    """All actions that surely ended before each action starts, in the order that a stage and its messages impose."""
    schedule = one_forward_one_backward(stages, minibatches)
    before: dict[Action, set[Action]] = {}
    waiting = [list(actions) for actions in schedule]
    while any(waiting):
        moved = False
        for stage, actions in enumerate(waiting):
            while actions:
                action = actions[0]
                needs = []
                if action.kind == "F" and stage > 0:
                    needs.append(Action(stage - 1, "F", action.minibatch))
                if action.kind == "B" and stage < stages - 1:
                    needs.append(Action(stage + 1, "B", action.minibatch))
                done = schedule[stage][: len(schedule[stage]) - len(actions)]
                needs += done[-1:]
                if any(need not in before for need in needs):
                    break
                before[action] = set(needs).union(*(before[need] for need in needs))
                actions.pop(0)
                moved = True
        assert moved, "deadlock"
    return before


def test_the_schedule_prints_as_in_the_paper() -> None:
    rows = [" ".join(map(str, actions)) for actions in one_forward_one_backward(3, 4)]
    assert rows == [
        "0F0 0F1 0F2 0B0 0U0 0F3 0B1 0U1 0B2 0U2 0B3 0U3",
        "1F0 1F1 1B0 1U0 1F2 1B1 1U1 1F3 1B2 1U2 1B3 1U3",
        "2F0 2B0 2U0 2F1 2B1 2U1 2F2 2B2 2U2 2F3 2B3 2U3",
    ]


@settings(deadline=None)
@given(stages=st.integers(1, 5), minibatches=st.integers(1, 9))
def test_every_minibatch_passes_every_stage_once_and_in_order(stages: int, minibatches: int) -> None:
    for stage, actions in enumerate(one_forward_one_backward(stages, minibatches)):
        for kind in ("F", "B", "U"):
            assert [a.minibatch for a in actions if a.kind == kind] == list(range(minibatches))
        flying = 0
        most = 0
        for action in actions:
            flying += {"F": 1, "B": -1, "U": 0}[action.kind]
            most = max(most, flying)
        assert most == depth(stage, stages, minibatches)


@settings(deadline=None, max_examples=60)
@given(stages=st.integers(2, 5), minibatches=st.integers(1, 10))
def test_a_slot_is_not_reused_before_backward(stages: int, minibatches: int) -> None:
    """With d slots, what overwrites a slot always comes after everything that reads it, whatever the speeds."""
    before = happens_before(stages, minibatches)
    for stage in range(stages - 1):
        slots = depth(stage, stages, minibatches)
        for minibatch in range(slots, minibatches):
            activations_read = Action(stage + 1, "B", minibatch - slots)
            assert activations_read in before[Action(stage, "F", minibatch)]
            gradients_read = Action(stage, "B", minibatch - slots)
            assert gradients_read in before[Action(stage + 1, "B", minibatch)]


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_fewer_gradient_slots_are_not_safe_in_the_drain(slots: int) -> None:
    """Two would do in the steady state; the drain of the second of four stages runs ahead by more."""
    before = happens_before(4, 6)
    unsafe = [
        minibatch
        for minibatch in range(slots, 6)
        if Action(0, "B", minibatch - slots) not in before[Action(1, "B", minibatch)]
    ]
    assert unsafe, f"{slots} slots would do"
