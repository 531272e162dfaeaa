"""The measured network of a plan's ranks: a frozen dataclass that is a JSON file.

Seconds and bytes throughout. Ranks are in the order of the stages that are going to run on them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from msgspec import Meta

from profiler.profile import Bytes, Count, Machine, Seconds, Shape, Timing

FORMAT_VERSION: Literal[4] = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFacts:
    """One rank: where it is, and what a whole training step of the model takes on its core.

    Attributes:
        step: In float32.
        lower_step: In bfloat16; None where that was not measured.
    """

    host: str
    address: str
    core: Count
    machine: Machine
    step: Timing
    lower_step: Timing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The measured link between a rank and the next: how long a message of each size takes from one to the other.

    Attributes:
        sizes_bytes: Ascending.
        down_s: From the rank to the next one, latency included; likewise ``up_s`` back.
    """

    sizes_bytes: Annotated[tuple[Bytes, ...], Meta(min_length=2)]
    down_s: Annotated[tuple[Seconds, ...], Meta(min_length=2)]
    up_s: Annotated[tuple[Seconds, ...], Meta(min_length=2)]

    @property
    def latency_s(self) -> tuple[float, float]:
        """Time of the smallest message, down and up."""
        return self.down_s[0], self.up_s[0]

    @property
    def bytes_per_s(self) -> tuple[float, float]:
        """Bandwidth, from the largest message beside the smallest, down and up."""
        size = self.sizes_bytes[-1] - self.sizes_bytes[0]
        speeds = [size / max(times[-1] - times[0], 1e-9) for times in (self.down_s, self.up_s)]
        return speeds[0], speeds[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkProfile:
    """Ranks and the links between neighbours, measured for one model and batch size."""

    model: str
    model_digest: str
    batch_size: Annotated[int, Meta(ge=1)]
    input_shape: Shape
    ranks: Annotated[tuple[RankFacts, ...], Meta(min_length=2)]
    links: Annotated[tuple[Link, ...], Meta(min_length=1)]
    measured_at: str
    format_version: Literal[4] = FORMAT_VERSION


def odd_network(network: NetworkProfile) -> Iterator[str]:
    """Yield, each in words, what of the values of a network profile cannot all be so."""
    if len(network.links) != len(network.ranks) - 1:
        yield f"it has {len(network.ranks)} ranks and {len(network.links)} links, and one links each two neighbours"
    if network.batch_size != network.input_shape[0]:
        yield f"its batch size is {network.batch_size}, and its input has {network.input_shape[0]} samples"
    timed = [(link.sizes_bytes, {len(link.down_s), len(link.up_s)}) for link in network.links]
    if len({sizes for sizes, _ in timed}) > 1:
        yield "its links were measured at different sizes"
    for sizes, counts in timed:
        if counts != {len(sizes)} or any(size >= other for size, other in pairwise(sizes)):
            yield "a link does not have a time for each of ascending sizes"
    for own in network.ranks:
        steps = [step for step in (own.step, own.lower_step) if step]
        if not all(0 < step.low_s <= step.median_s <= step.high_s for step in steps):
            yield f"an interval of {own.host} does not hold its own median, or takes no time"
