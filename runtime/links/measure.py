"""Measure what the network between ranks costs, for the optimizer to plan for it."""

import importlib.metadata
from dataclasses import replace
from typing import TYPE_CHECKING

import profiler.capture
import profiler.machine
import profiler.measure
import profiler.profile
import runtime.hosts
from optimizer.plan import Link, NetworkProfile, RankFacts
from profiler.files import to_json
from profiler.settings import Config

if TYPE_CHECKING:
    from profiler.execution import Captured
    from runtime.hosts import Session

STEP_BUDGET_S = 3.0
"""For how long a rank repeats the step of the model, alone."""


def measure_links(session: "Session", config: Config, core: int, timeout_s: float) -> NetworkProfile:
    """Measure every rank's speed, and the messages between neighbours.

    Args:
        session: The ranks.
        config: The model, in the form that is named, whose step is timed, and whose cuts say how large messages are.
        core: This rank's.
        timeout_s: How long a message may take.
    """
    captured = profiler.capture.captured_model(config, profiler.profile.form_named(config.slice, config.precision))
    versions = {name: importlib.metadata.version(name) for name in ("stageplan", "torch")}
    alike = replace(config, cores=(), typed=(), profiles="")  # which are each host's own
    runtime.hosts.agree(session, versions | {"configuration": str(to_json(alike)), "model": captured.digest})
    ranks = _ranks(session, config, captured, core)
    with profiler.machine.pinned(core):
        links = _links(session, captured, timeout_s)
    from datetime import UTC, datetime

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
                step=profiler.measure.measure_step(config, captured, core, STEP_BUDGET_S),
            )
        every_rank.append(session.exchange(facts, RankFacts | None)[rank])
    return tuple(facts for facts in every_rank if facts)


def _links(session: "Session", captured: "Captured", timeout_s: float) -> tuple[Link, ...]:
    """Time messages between neighbours, one pair after the other, and down before up."""
    from runtime.links.message_times import answer_messages, sizes_of, time_messages

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
