"""The request that a comparison answers."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from optimizer.schedule import ScheduleName
from profiler.settings import UpdateRule
from runtime.results import ChannelName


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        asked: The partitions, those that the model does not allow included.
        distinct_splits: Evenly spaced splits join the partitions until so many are distinct.
        minibatches: Of each run; 0 for as many as a few seconds take.
        repeats: How many rounds; a comparison with fewer is gone on with.
        full: Whether every contender runs in every round; else those only that may still be the fastest.
        baselines: Whether one process with several threads runs, too.
    """

    model: str
    batch_size: Annotated[int, Meta(ge=1)]
    input_shape: Annotated[tuple[int, ...], Meta(min_length=2)]
    minibatches: Annotated[int, Meta(ge=0)]
    num_stages: Annotated[int, Meta(ge=1)]
    cores: tuple[int, ...]
    schedule: ScheduleName
    update_every: Annotated[int, Meta(ge=1, le=100_000)]
    channel: ChannelName
    rule: UpdateRule
    data: str
    loss: str = ""
    slice: str
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    asked: tuple[str, ...]
    distinct_splits: Annotated[int, Meta(ge=0)]
    repeats: Annotated[int, Meta(ge=1)]
    full: bool
    baselines: bool
