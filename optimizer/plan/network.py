"""The measured network of a plan's ranks: a frozen dataclass that is a JSON file.

Seconds and bytes throughout. Ranks are in the order of the stages that are going to run on them.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from profiler.profile import FP32, PLAIN_FORM, Bytes, Count, Machine, Precision, Seconds, Shape, Slicing

FORMAT_VERSION: Literal[6] = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFacts:
    """One rank: where it is, and what a whole training step of the model takes on its core."""

    host: str
    address: str
    core: Count
    machine: Machine
    step_s: Seconds


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
    """Ranks and the links between neighbours, measured for one runnable model and batch size."""

    model: str
    model_digest: str
    slicing: Slicing = PLAIN_FORM.slicing
    precision: Precision = FP32
    batch_size: Annotated[int, Meta(ge=1)]
    input_shape: Shape
    ranks: Annotated[tuple[RankFacts, ...], Meta(min_length=2)]
    links: Annotated[tuple[Link, ...], Meta(min_length=1)]
    measured_at: str
    format_version: Literal[6] = FORMAT_VERSION
