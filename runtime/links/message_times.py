"""Measure what messages take between two ranks over gloo, at the sizes that cuts of a model produce.

The sender times a message and the short answer to it; of a short message and its answer, each takes half. The last
message of a size says that it is the last, so a slow link is not measured longer than it takes to know it.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING

import torch

from profiler.errors import one_line
from profiler.execution import Captured
from profiler.profile import INPUT
from runtime.errors import NeighbourGone

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup, Work

SHORT_BYTES = 64
LEAST, MOST, ENOUGH_S = 4, 15, 1.0
"""Rounds of a size, and the time after which the least number of them is enough."""
_MORE, _LAST = 0, 1


def sizes_of(captured: Captured, count: int = 5) -> tuple[int, ...]:
    """Return sizes of messages, ascending: a short one, and some from the smallest to the largest over any cut."""
    order = {name: place for place, name in enumerate([INPUT, *captured.layer_names])}
    until = dict.fromkeys(captured.outputs, len(order))
    for edge in captured.edges:
        if edge.kind == "data":
            until[edge.source] = max(until.get(edge.source, 0), order[edge.target])
    sizes = set()
    for cut in range(1, len(order) - 1):
        crossing = [captured.specs[name] for name, end in until.items() if order[name] <= cut < end]
        sizes.add(sum(spec.bytes for spec in crossing))
        sizes.add(sum(spec.bytes for spec in crossing if spec.gradient))
    ordered = sorted(size for size in sizes if size > SHORT_BYTES)
    places = [round(at * (len(ordered) - 1) / (count - 1)) for at in range(count)] if ordered else []
    return SHORT_BYTES, *dict.fromkeys(ordered[place] for place in places)


def time_messages(
    group: "ProcessGroup", peer: int, sizes: Sequence[int], timeout_s: float, look: Callable[[], None]
) -> tuple[float, ...]:
    """Return what a message of each size takes to ``peer``, which answers at the same time; the first is short."""
    medians_s = []
    for size in sizes:
        message, answer = torch.zeros(size, dtype=torch.uint8), torch.zeros(SHORT_BYTES, dtype=torch.uint8)
        times: list[float] = []
        done = False
        while not done:
            look()
            done = len(times) >= MOST or (len(times) >= LEAST and sum(times) > ENOUGH_S)
            message[0] = _LAST if done else _MORE
            start = time.perf_counter()
            _wait(group.send([message], peer, 0), timeout_s)
            _wait(group.recv([answer], peer, 0), timeout_s)
            times.append(time.perf_counter() - start)
        medians_s.append(median(times[1:]))
    short_s = medians_s[0] / 2
    return short_s, *(max(short_s, median_s - short_s) for median_s in medians_s[1:])


def answer_messages(
    group: "ProcessGroup", peer: int, sizes: Sequence[int], timeout_s: float, look: Callable[[], None]
) -> None:
    """Answer what ``peer`` sends to find out how long that takes."""
    for size in sizes:
        message, answer = torch.zeros(size, dtype=torch.uint8), torch.zeros(SHORT_BYTES, dtype=torch.uint8)
        while message[0] != _LAST:
            look()
            _wait(group.recv([message], peer, 0), timeout_s)
            _wait(group.send([answer], peer, 0), timeout_s)


def _wait(work: "Work", timeout_s: float) -> None:
    try:
        work.wait(timedelta(seconds=timeout_s))
    except RuntimeError as error:
        raise NeighbourGone(f"a neighbouring rank has gone ({one_line(error)})") from error
