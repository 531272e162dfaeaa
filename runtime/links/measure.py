"""Measure what the network between ranks costs, for the optimizer to plan for it."""

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from optimizer.plan import AllReduce, Link, NetworkProfile, RankFacts
from profiler.files import to_json
from profiler.settings import Config

if TYPE_CHECKING:
    from profiler.execution import Captured
    from runtime.cluster import Session

STEP_BUDGET_S = 3.0
"""For how long a rank repeats the step of the model, alone."""


def measure_links(session: "Session", config: Config, core: int, timeout_s: float) -> NetworkProfile:
    """Measure every rank's speed, the messages between neighbours, and all-reduces over neighbouring ranks.

    Args:
        session: The ranks.
        config: The model whose step is timed, and whose cuts say how large messages are.
        core: This rank's.
        timeout_s: How long a message may take.

    Raises:
        InputError: Ranks were given different models or have different versions.
        RunError: A rank has failed meanwhile.
    """
    from profiler.capture import captured_model
    from profiler.machine import pinned
    from runtime.cluster import agree

    captured = captured_model(config)
    versions = {name: importlib.metadata.version(name) for name in ("stageplan", "torch")}
    agree(session, "what was given", versions | {"configuration": str(to_json(config)), "model": captured.digest})
    ranks = _ranks(session, config, captured, core)
    with pinned(core), _joined(session):
        links = _links(session, captured, timeout_s)
        all_reduces = _all_reduces(session, captured, timeout_s)
    from datetime import UTC, datetime

    from profiler.profile import INPUT

    return NetworkProfile(
        model=config.model,
        model_digest=captured.digest,
        batch_size=config.batch_size,
        input_shape=captured.specs[INPUT].shape,
        ranks=ranks,
        links=links,
        all_reduces=all_reduces,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _ranks(session: "Session", config: Config, captured: "Captured", core: int) -> tuple[RankFacts, ...]:
    """Time the model's step on one rank after the other, for two may share a machine."""
    from profiler.machine import this_machine
    from profiler.measure import measure_step

    found = []
    for rank, member in enumerate(session.members):
        said = b""
        if rank == session.rank:
            step = measure_step(config, captured, core, STEP_BUDGET_S)
            own = RankFacts(host=member.host, address=member.address, core=core, machine=this_machine(), step=step)
            said = msgspec.msgpack.encode(own)
        found.append(msgspec.msgpack.decode(session.all_gather(f"step of {rank}", said)[rank], type=RankFacts))
    return tuple(found)


@contextmanager
def _joined(session: "Session") -> Iterator[None]:
    """Let the ranks themselves send messages, where their stages' processes do in a run."""
    import torch.distributed as dist

    from runtime.channels import join

    join(session.rendezvous, session.rank, session.size)
    yield
    dist.destroy_process_group()


def _all_reduces(session: "Session", captured: "Captured", timeout_s: float) -> tuple[AllReduce, ...]:
    """Time the averaging of gradients over any neighbouring ranks, one group after the other."""
    from datetime import timedelta

    import torch.distributed as dist

    from runtime.links.all_reduce_times import gradient_sizes, time_all_reduces

    sizes = gradient_sizes(captured)
    found = []
    for ranks in range(2, session.size + 1):
        for first in range(session.size - ranks + 1):
            group = dist.new_group(list(range(first, first + ranks)), timeout=timedelta(seconds=timeout_s))
            said = b""
            if isinstance(group, dist.ProcessGroup) and first <= session.rank < first + ranks:
                said = msgspec.msgpack.encode(time_all_reduces(group, first, ranks, sizes, session.look))
                dist.destroy_process_group(group)
            answer = session.all_gather(f"all-reduce {first} {ranks}", said)[first]
            times_s = msgspec.msgpack.decode(answer, type=tuple[float, ...])
            found.append(AllReduce(first=first, ranks=ranks, sizes_bytes=sizes[: len(times_s)], times_s=times_s))
    return tuple(found)


def _links(session: "Session", captured: "Captured", timeout_s: float) -> tuple[Link, ...]:
    """Time messages between neighbours, one pair after the other, and down before up."""
    from runtime.links.message_times import answer_messages, sizes_of, time_messages

    sizes = sizes_of(captured)
    found = []
    for cut in range(session.size - 1):
        ways = []
        for sender, receiver in ((cut, cut + 1), (cut + 1, cut)):
            said = b""
            if session.rank == sender:
                said = msgspec.msgpack.encode(time_messages(receiver, sizes, timeout_s, session.look))
            elif session.rank == receiver:
                answer_messages(sender, sizes, timeout_s, session.look)
            answer = session.all_gather(f"link {sender} to {receiver}", said)[sender]
            ways.append(msgspec.msgpack.decode(answer, type=tuple[float, ...]))
        found.append(Link(sizes_bytes=sizes, down_s=ways[0], up_s=ways[1]))
    return tuple(found)
