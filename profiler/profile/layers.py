"""The layers of a model, the graph that they are in, and the machine that they were measured on: parts of a profile.

Seconds and bytes throughout.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0, le=1e6)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 50)]
Count = Annotated[int, Meta(ge=0, le=1 << 60)]
Shape = Annotated[tuple[Annotated[int, Meta(ge=1, le=1 << 31)], ...], Meta(min_length=2)]
"""Of a minibatch, the number of samples first."""
Name = Annotated[str, Meta(max_length=500)]
"""Of a model or layer: it has to fit into a table's column, and a picture's title."""

INPUT = "input"
"""The name under which layers read the model's input; no layer carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One captured graph node and what it costs per minibatch.

    Attributes:
        backward_s: Time of the backward; includes the gradient of its input where anything upstream learns.
        weight_gradients_s: What of ``backward_s`` is the gradients of its own parameters, which a backward that is
            split leaves for later; 0 where it stays in one. ``splitting_s``, what it takes more in two.
        update_s: Time of updating its parameters and writing their next version beside the current one.
        in_place_share: What an update in place takes of that, which is how a stage with one weight version updates.
        accumulate_s: What a minibatch takes more that shares its update with earlier ones: its backward adds to their
            gradients instead of writing them anew, and its weights are cast already; below 0 where that is less.
        output_bytes: Size of its output, hence what crosses a cut behind it.
        gradient_bytes: Size of the gradient that comes back over such a cut; 0 where none flows.
        learning_bytes: Size of those that learn, hence of their gradients, and of each tensor that the rule keeps.
        saved_bytes: What its forward keeps for the backward, parameters excluded.
        left_bytes: What is held for those gradients once the rest of the backward is done.
        features: How many output features it has, of a kind of layer that can be cut into blocks of them.
        uncuttable: Why it cannot be cut into blocks of them; nothing where it can.
        alone_s: What all of it takes beside no busy core; None where no core was busy anyhow.
        cast_bytes: What of ``saved_bytes`` are casts of its weights to bfloat16, made once for each weight version.
        rounds_s: What all of it took in each round, as it was timed; nothing where that is not kept.
    """

    name: Name
    kind: Name
    forward_s: Seconds
    backward_s: Seconds
    update_s: Seconds
    output_bytes: Bytes
    gradient_bytes: Bytes
    parameter_bytes: Bytes
    learning_bytes: Bytes
    saved_bytes: Bytes
    in_place_share: Annotated[float, Meta(ge=0, le=1000)] = 1.0
    accumulate_s: Annotated[float, Meta(ge=-1e6, le=1e6)] = 0.0
    weight_gradients_s: Seconds = 0.0
    splitting_s: Annotated[float, Meta(ge=-1e6, le=1e6)] = 0.0
    left_bytes: Bytes = 0
    features: Count = 0
    uncuttable: str = ""
    cast_bytes: Bytes = 0
    alone_s: Seconds | None = None
    rounds_s: tuple[Seconds, ...] = ()

    @property
    def step_s(self) -> float:
        """Time of one minibatch in this layer: forward, backward and update."""
        return self.forward_s + self.backward_s + self.update_s

    @property
    def update_in_place_s(self) -> float:
        """The time of an update that overwrites the weights."""
        return self.update_s * self.in_place_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The loss, which belongs to the last stage and is no layer; ``alone_s`` and ``rounds_s`` as of a layer."""

    forward_s: Seconds
    backward_s: Seconds
    alone_s: Seconds | None = None
    rounds_s: tuple[Seconds, ...] = ()

    @property
    def step_s(self) -> float:
        """Forward and backward."""
        return self.forward_s + self.backward_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """``target`` runs after ``source``: it reads its output (``data``) or overwrites what it read (``order``)."""

    source: str
    target: str
    kind: Literal["data", "order"] = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyCost:
    """What it costs a stage to send a value to its neighbour: a latency, and a time for each byte."""

    latency_s: Seconds
    s_per_byte: Seconds

    def seconds(self, size_bytes: int) -> float:
        """Return the time to send ``size_bytes``; what has none is not sent."""
        return self.latency_s + self.s_per_byte * size_bytes if size_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, software and settings that times were measured with; equal machines may share profiles.

    Attributes:
        instructions: The widest vector instructions, and those that multiply bfloat16.
    """

    cpu: str
    physical_cores: Count
    logical_cores: Count
    instructions: str
    memory_bytes: Bytes
    python: str
    torch: str
    torchvision: str
    allocator: str
    settings: str


def parts_s(layers: Iterable[Layer], loss: Loss) -> float:
    """Return the sum of all parts of a step, the loss among them."""
    return sum(layer.step_s for layer in layers) + loss.forward_s + loss.backward_s
