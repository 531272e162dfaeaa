"""The profile: what a model's layers cost on one core of one machine. A frozen dataclass that is a JSON file.

Seconds and bytes throughout; ``input_shape`` includes the minibatch, ``(N, C, H, W)`` for images.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

FORMAT_VERSION: Literal[1] = 1

Seconds = Annotated[float, Meta(ge=0, le=1e6)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 50)]
Count = Annotated[int, Meta(ge=0)]

INPUT = "input"
"""The name under which layers read the model's input; no layer carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One measured time: the median of its samples with a 95% interval."""

    median_s: Seconds
    low_s: Seconds
    high_s: Seconds
    samples_s: tuple[Seconds, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One captured graph node and what it costs per minibatch.

    Attributes:
        name: Module path, or the graph node's name for functions and methods.
        kind: What it is: ``Conv2d``, ``add``, ``flatten``.
        forward_s: Median time of the forward.
        backward_s: Median time of the backward; includes the gradient of its input where anything upstream learns.
        update_s: Median time of updating its parameters and writing their next version.
        output_bytes: Size of its output, hence what crosses a cut behind it.
        gradient_bytes: Size of the gradient that comes back over such a cut; 0 where none flows.
        parameter_bytes: Size of its parameters.
        saved_bytes: What its forward keeps for the backward, parameters excluded.
        flops: Floating-point operations of the forward's convolutions and matrix products (a multiply-add is two).
        forward: Samples and interval behind ``forward_s``; likewise ``backward`` and ``update``.
    """

    name: str
    kind: str
    forward_s: Seconds
    backward_s: Seconds
    update_s: Seconds
    output_bytes: Bytes
    gradient_bytes: Bytes
    parameter_bytes: Bytes
    saved_bytes: Bytes
    flops: Count
    forward: Timing | None = None
    backward: Timing | None = None
    update: Timing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The loss, which belongs to the last stage and is no layer."""

    forward_s: Seconds
    backward_s: Seconds
    forward: Timing | None = None
    backward: Timing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """``target`` runs after ``source``: it reads its output (``data``) or overwrites what it read (``order``)."""

    source: str
    target: str
    kind: Literal["data", "order"] = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What moving bytes to a neighbouring stage costs its sender: measured copies into a shared-memory slot."""

    sizes_bytes: tuple[Bytes, ...]
    copy_s: tuple[Seconds, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and how the times were measured."""

    cpu: str
    physical_cores: Count
    python: str
    torch: str
    torchvision: str
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a model's layers cost on one core.

    Attributes:
        vocabulary: Samples are whole numbers below it; 0 for floats.
        layers: In captured order, which is a topological order of ``edges``.
        together: Groups of layers that no cut may separate (they share a parameter, or hand over what is no tensor).
        outputs: The layers whose outputs enter the loss, the main head first; the last stage needs them all.
        whole_step_s: The plain, uninstrumented step: model, loss, backward, update.
        momentum: That of the update rule that was timed; without any, an update is cheaper.
        closure_error: (sum of the parts − whole step) ÷ whole step.
        rounds: How many samples stand behind each time.
        precision: The largest half-width of an interval among the ten costliest layers, as a share of the median.
        drift: By how much the last third of the rounds was slower than the first, as a share.
        foreign_load: Share of the time in which the core worked for others.
        complete: False for what an interrupt left over; such a profile is not planned with.
    """

    model: str
    model_digest: str
    batch_size: Annotated[int, Meta(ge=1)]
    input_shape: Annotated[tuple[Annotated[int, Meta(ge=1, le=1 << 31)], ...], Meta(min_length=2)]
    classes: Count
    vocabulary: Count = 0
    momentum: Annotated[float, Meta(ge=0)]
    machine: Machine
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    together: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...] = ()
    loss: Loss
    link: Link
    input_bytes: Bytes
    whole_step_s: Seconds
    whole_step: Timing
    closure_error: float
    rounds: Count
    precision: float
    drift: float
    foreign_load: float
    measured_at: str
    complete: bool = True
    format_version: Literal[1] = FORMAT_VERSION
