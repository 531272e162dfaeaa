"""Digests of what two processes hold say the same wherever they hold the same, whatever order it came to them in."""

import torch

from runtime.worker import digest_of_state

STATE = {"b": torch.tensor([1.0]), "a": torch.tensor([2.0]), "a@count": torch.tensor(3)}


def test_the_digest_of_a_state_does_not_follow_the_order_of_its_tensors() -> None:
    assert digest_of_state(STATE) == digest_of_state(dict(reversed(STATE.items())))


def test_the_digest_of_a_state_changes_with_an_element_and_with_whose_it_is() -> None:
    changed = STATE | {"a@count": torch.tensor(4)}
    exchanged = STATE | {"a": STATE["b"], "b": STATE["a"]}
    assert len({digest_of_state(state) for state in (STATE, changed, exchanged)}) == 3
