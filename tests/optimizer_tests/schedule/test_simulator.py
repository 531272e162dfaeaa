import networkx as nx
from hypothesis import given
from hypothesis import strategies as st
from paces import drawn_pace
from simulations import dependencies, orders

from optimizer.schedule import Action, Kind, Pace, Span, simulate

Times = dict[tuple[int, Kind, int], float]


@st.composite
def timed(draw: st.DrawFn) -> tuple[Pace, int, int, Times]:
    """A run of any schedule, and a duration for every action of it."""
    stages, minibatches = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    pace = drawn_pace(draw(st.data()), stages, range(1, 5))
    numbers = draw(st.randoms(use_true_random=False))
    kinds: tuple[Kind, ...] = ("F", "B", "W", "U")
    took = {
        (stage, kind, minibatch): float(numbers.randint(0, 20))
        for stage in range(stages) for kind in kinds for minibatch in range(minibatches)
    }  # fmt: skip
    return pace, stages, minibatches, took


def ends(spans: list[list[Span]]) -> dict[Action, float]:
    return {span.action: span.end_s for row in spans for span in row}


@given(case=timed())
def test_an_action_ends_with_the_longest_chain_of_actions_that_leads_to_it(case: tuple[Pace, int, int, Times]) -> None:
    """What a stage does next depends on the times; none waits for what it does not need."""
    pace, stages, minibatches, took = case
    spans = simulate(pace, stages, minibatches, lambda *key: took[key])
    longest: dict[Action, float] = {}
    graph = dependencies(orders(spans))
    for action in nx.topological_sort(graph):
        before_s = max((longest[need] for need in graph.predecessors(action)), default=0.0)
        longest[action] = took[action.stage, action.kind, action.minibatch] + before_s
    assert ends(spans) == longest
