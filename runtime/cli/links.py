"""``python -m runtime links``: measure what the network of ranks costs, for the optimizer to plan for it."""

import argparse
import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from optimizer.plan import AllReduce, Links, RankFacts, Wire
from profiler.cli import configs, note, stdout
from profiler.errors import ConfigError
from profiler.files import refuse_unwritable, to_json, write_whole
from profiler.settings import Config
from runtime.cluster import RANK_TIMEOUT_S, joined, placement

if TYPE_CHECKING:
    from rich.console import Console

    from profiler.execution import Captured
    from runtime.cluster import World

_BEYOND_MEASURE = 1e6
STEP_BUDGET_S = 3.0
"""For how long a rank repeats the step of the model, alone."""


def measure_links(options: argparse.Namespace) -> int:
    """Measure ranks and wires, show them, and write the file."""
    if placement() is None:
        raise ConfigError(
            "links are measured between ranks, and no launcher has started this process as one; start it with torchrun "
            "on every host, as in the README"
        )
    with joined(options) as world:
        assert world is not None
        if world.leads:
            refuse_unwritable(options.output)
        wanted = configs(options)
        if len(wanted) > 1:
            raise ConfigError("links takes one model, and messages have the sizes that its cuts produce")
        if world.size < 2:
            raise ConfigError("there are no links within one rank; start two or more")
        found = _measured(world, wanted[0], options)
        if world.leads:
            _show(found, options)
    return 0


def _measured(world: "World", config: Config, options: argparse.Namespace) -> Links:
    from profiler.capture import captured_model
    from profiler.machine import settled
    from runtime.cli.options import cores_of
    from runtime.cluster import agree

    (core,) = cores_of(options, world.size)
    captured = captured_model(config)
    versions = {name: importlib.metadata.version(name) for name in ("stageplan", "torch")}
    agree(world, "what was given", versions | {"configuration": str(to_json(config)), "model": captured.digest})
    ranks = _ranks(world, config, captured, core)
    timeout_s = options.rank_timeout or RANK_TIMEOUT_S
    with settled(core), _joined(world):
        wires = _wires(world, captured, timeout_s)
        all_reduces = _all_reduces(world, captured, timeout_s)
    from datetime import UTC, datetime

    from profiler.profile import INPUT

    return Links(
        model=config.model,
        model_digest=captured.digest,
        batch_size=config.batch_size,
        input_shape=captured.specs[INPUT].shape,
        ranks=ranks,
        wires=wires,
        all_reduces=all_reduces,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _ranks(world: "World", config: Config, captured: "Captured", core: int) -> tuple[RankFacts, ...]:
    """Time the model's step on one rank after the other, for two may share a machine."""
    from profiler.machine import this_machine
    from profiler.measure import measure_step

    found = []
    for rank, member in enumerate(world.members):
        said = b""
        if rank == world.rank:
            step = measure_step(config, captured, core, STEP_BUDGET_S)
            own = RankFacts(host=member.host, address=member.address, core=core, machine=this_machine(), step=step)
            said = msgspec.msgpack.encode(own)
        found.append(msgspec.msgpack.decode(world.all_gather(f"step of {rank}", said)[rank], type=RankFacts))
    return tuple(found)


@contextmanager
def _joined(world: "World") -> Iterator[None]:
    """Let the ranks themselves send messages, where their stages' processes do in a run."""
    import torch.distributed as dist

    from runtime.channels import join

    join(world.meeting, world.rank, world.size)
    yield
    dist.destroy_process_group()


def _all_reduces(world: "World", captured: "Captured", timeout_s: float) -> tuple[AllReduce, ...]:
    """Time the averaging of gradients over any neighbouring ranks, one group after the other."""
    from datetime import timedelta

    import torch.distributed as dist

    from runtime.links import gradient_sizes, time_all_reduces

    sizes = gradient_sizes(captured)
    found = []
    for ranks in range(2, world.size + 1):
        for first in range(world.size - ranks + 1):
            group = dist.new_group(list(range(first, first + ranks)), timeout=timedelta(seconds=timeout_s))
            said = b""
            if isinstance(group, dist.ProcessGroup) and first <= world.rank < first + ranks:
                said = msgspec.msgpack.encode(time_all_reduces(group, first, ranks, sizes, world.look))
                dist.destroy_process_group(group)
            answer = world.all_gather(f"all-reduce {first} {ranks}", said)[first]
            times_s = msgspec.msgpack.decode(answer, type=tuple[float, ...])
            found.append(AllReduce(first=first, ranks=ranks, sizes_bytes=sizes[: len(times_s)], times_s=times_s))
    return tuple(found)


def _wires(world: "World", captured: "Captured", timeout_s: float) -> tuple[Wire, ...]:
    """Time messages between neighbours, one pair after the other, and down before up."""
    from runtime.links import answer_messages, sizes_of, time_messages

    sizes = sizes_of(captured)
    found = []
    for cut in range(world.size - 1):
        ways = []
        for sender, receiver in ((cut, cut + 1), (cut + 1, cut)):
            said = b""
            if world.rank == sender:
                said = msgspec.msgpack.encode(time_messages(receiver, sizes, timeout_s, world.look))
            elif world.rank == receiver:
                answer_messages(sender, sizes, timeout_s, world.look)
            answer = world.all_gather(f"wire {sender} to {receiver}", said)[sender]
            ways.append(msgspec.msgpack.decode(answer, type=tuple[float, ...]))
        found.append(Wire(sizes_bytes=sizes, down_s=ways[0], up_s=ways[1]))
    return tuple(found)


def _show(links: Links, options: argparse.Namespace) -> None:
    from profiler.cli import emit_json

    write_whole(options.output, to_json(links))
    note(f"kept in {options.output}", quiet=options.quiet)
    if options.json:
        emit_json([links])
    elif not options.quiet:
        _table(links, stdout())


def _megabits(bytes_per_s: float) -> str:
    """Return a bandwidth; none where a large message took no longer than a short one."""
    speed = bytes_per_s * 8e-6
    return f"{speed:,.0f}" if speed < _BEYOND_MEASURE else "–"


def _pair(links: Links, first: int) -> str:
    """Return what averaging gradients over two neighbours takes, and how large they are."""
    both = next(one for one in links.all_reduces if (one.first, one.ranks) == (first, 2))
    return f"{both.times_s[-1] * 1e3:.1f} for {both.sizes_bytes[-1] / 2**20:.1f} MiB"


def _table(links: Links, console: "Console") -> None:
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"{links.model}, batch {links.batch_size}: ranks, and the wires between neighbours",
        caption="Step: a whole training step of the model on the rank's core. Latency, bandwidth and the largest "
        "message: to the next rank ↓ and back ↑. All-reduce: averaging the largest gradients with the next rank.",
        caption_justify="left",
        box=box.SIMPLE,
    )
    for name in ("rank", "host", "address"):
        table.add_column(name)
    for name in ("step ms", "latency ms", "bandwidth Mbit/s", "largest MiB", "takes ms", "all-reduce ms"):
        table.add_column(name, justify="right")
    for number, rank in enumerate(links.ranks):
        row = [str(number), rank.host, rank.address, f"{rank.step.median_s * 1e3:.1f}"]
        if number < len(links.wires):
            wire = links.wires[number]
            latency_s, speed = wire.latency_s, [_megabits(one) for one in wire.bytes_per_s]
            row += [
                f"{latency_s[0] * 1e3:.2f} ↓ {latency_s[1] * 1e3:.2f} ↑",
                f"{speed[0]} ↓ {speed[1]} ↑",
                f"{wire.sizes_bytes[-1] / 2**20:.2f}",
                f"{wire.down_s[-1] * 1e3:.1f} ↓ {wire.up_s[-1] * 1e3:.1f} ↑",
                _pair(links, number),
            ]
        table.add_row(*row)
    console.print(table)
