"""Measure what the network between ranks costs, at the sizes that cuts of a model produce, to plan for it.

The sender times a message and the short answer to it; of a short message and its answer, each takes half. The last
message of a size says that it is the last, so a slow link is not measured longer than it takes to know it.
"""

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

import torch

import profiler.capture
import profiler.machine
import profiler.measure
import profiler.profile
from optimizer.plan import Link, NetworkProfile, RankFacts
from profiler.errors import one_line
from profiler.execution import Captured
from profiler.files import to_json
from profiler.profile import INPUT
from profiler.settings import Config
from runtime.errors import NeighbourGone
from runtime.hosts.agreement import agree

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup, Work

    from runtime.hosts import Session


STEP_BUDGET_S = 3.0
"""For how long a rank repeats the step of the model, alone."""


def measure_links(session: "Session", config: Config, core: int, timeout_s: float) -> NetworkProfile:
    """Measure, on all ranks together, every rank's speed and the messages between neighbours; ranks that differ raise.

    Args:
        session: The ranks.
        config: The model, in the form that is named, whose step is timed, and whose cuts say how large messages are.
        core: This rank's.
        timeout_s: How long a message may take.
    """
    captured = profiler.capture.captured_model(config, profiler.profile.form_named(config.slice, config.precision))
    versions = {name: importlib.metadata.version(name) for name in ("stageplan", "torch")}
    alike = replace(config, cores=(), typed=(), profiles="")  # which are each host's own
    agree(session, versions | {"configuration": str(to_json(alike)), "model": captured.digest})
    ranks = _ranks(session, config, captured, core)
    with profiler.machine.pinned(core):
        links = _links(session, captured, timeout_s)
    return NetworkProfile(
        model=config.name,
        model_digest=captured.digest,
        slicing=captured.form.slicing,
        precision=captured.form.precision,
        batch_size=config.batch_size,
        input_shape=captured.specs[profiler.profile.INPUT].shape,
        ranks=ranks,
        links=links,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _ranks(session: "Session", config: Config, captured: "Captured", core: int) -> tuple[RankFacts, ...]:
    """Time the model's step on one rank after the other, for two may share a machine."""
    every_rank = []
    for rank, member in enumerate(session.members):
        facts: RankFacts | None = None
        if rank == session.rank:
            facts = RankFacts(
                host=member.host,
                address=member.address,
                core=core,
                machine=profiler.machine.this_machine(),
                step_s=profiler.measure.measure_step(config, captured, core, STEP_BUDGET_S),
            )
        every_rank.append(session.exchange(facts, RankFacts | None)[rank])
    return tuple(facts for facts in every_rank if facts)


def _links(session: "Session", captured: "Captured", timeout_s: float) -> tuple[Link, ...]:
    """Time messages between neighbours, one pair after the other, and down before up."""
    sizes = sizes_of(captured)
    links = []
    for cut in range(len(session.members) - 1):
        ways = []
        for sender, receiver in ((cut, cut + 1), (cut + 1, cut)):
            times_s: tuple[float, ...] = ()
            if session.rank == sender:
                times_s = time_messages(session.group, receiver, sizes, timeout_s, session.look)
            elif session.rank == receiver:
                answer_messages(session.group, sender, sizes, timeout_s, session.look)
            ways.append(session.exchange(times_s, tuple[float, ...])[sender])
        links.append(Link(sizes_bytes=sizes, down_s=ways[0], up_s=ways[1]))
    return tuple(links)


SHORT_BYTES = 64
LEAST, MOST, ENOUGH_S = 4, 15, 1.0
"""Rounds of a size, and the time after which the least number of them is enough."""
_MORE, _LAST = 0, 1


def sizes_of(captured: "Captured", count: int = 5) -> tuple[int, ...]:
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
