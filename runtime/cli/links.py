"""``python -m runtime links``: measure what the network of ranks costs, for the optimizer to plan for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import runtime.hosts
import runtime.pipeline
from optimizer.plan import NetworkProfile
from profiler.cli import CommonOptions, configs, emit_json, note, option, quiet, stdout
from profiler.errors import ConfigError
from profiler.files import to_json, write_whole
from profiler.output_files import refuse_unwritable
from profiler.report import ResultTable, ms
from runtime.cli.options import RankTimeout
from runtime.hosts import RANK_TIMEOUT_S, joined, placement

if TYPE_CHECKING:
    from rich.console import Console

_BEYOND_MEASURE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksOptions(CommonOptions):
    """The options of ``links``."""

    rank_timeout_s: RankTimeout = None
    output: Annotated[
        Path, option("where to (links.json)", "-o", "--output", under="output", type=Path, metavar="FILE")
    ] = Path("links.json")


def links(options: LinksOptions) -> int:
    """Measure ranks and links, show them, and write the file."""
    if placement() is None:
        raise ConfigError(
            "links are measured between ranks, and no launcher has started this process as one; start it "
            "with torchrun on every host: torchrun … -m runtime links …"
        )
    with joined(options.rank_timeout_s, None) as session:
        if session.leads:
            refuse_unwritable(options.output, "network profile", "-o")
        wanted = configs(options)
        if len(wanted) > 1:
            raise ConfigError("links takes one model, and messages have the sizes that its cuts produce")
        if len(session.members) < 2:
            raise ConfigError("there are no links within one rank; start two or more")
        (core,) = runtime.pipeline.cores_of(wanted[0], len(session.members))
        measured = runtime.hosts.measure_links(session, wanted[0], core, options.rank_timeout_s or RANK_TIMEOUT_S)
        if session.leads:
            _show(measured, options)
    return 0


def _show(network: NetworkProfile, options: LinksOptions) -> None:
    write_whole(options.output, to_json(network))
    note(f"kept in {options.output}")
    if options.json:
        emit_json([network])
    elif not quiet():
        show_links(network, stdout())


def _megabits(bytes_per_s: float) -> str:
    """Return a bandwidth in Mbit/s; a dash beyond measure, where a large message took no longer than a short one."""
    speed = bytes_per_s * 8e-6
    return f"{speed:,.0f}" if speed < _BEYOND_MEASURE else "–"


def show_links(network: NetworkProfile, console: "Console") -> None:
    """Print the ranks and the links between neighbours."""
    table = ResultTable(
        f"{network.model}, batch {network.batch_size}: ranks, and the links between neighbours",
        ("rank", "host", "step ms", "latency ms", "bandwidth Mbit/s", "takes ms"),
        words=("rank", "host"),
        caption="Step: a whole training step of the model on the rank's core. Latency, bandwidth and what the largest "
        "message takes: to the next rank ↓ and back ↑.",
    )
    for number, rank in enumerate(network.ranks):
        row = [str(number), rank.host, ms(rank.step_s)]
        if number < len(network.links):
            link = network.links[number]
            latency_s, speed = link.latency_s, [_megabits(rate) for rate in link.bytes_per_s]
            row += [
                f"{latency_s[0] * 1e3:.2f} ↓ {latency_s[1] * 1e3:.2f} ↑",
                f"{speed[0]} ↓ {speed[1]} ↑",
                f"{ms(link.down_s[-1])} ↓ {ms(link.up_s[-1])} ↑",
            ]
        table.add_row(*row)
    console.print(table)
