"""The request that a comparison answers."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from optimizer.cli import wanted_names
from optimizer.planning import load_schemes
from optimizer.schedule import ScheduleName
from profiler.machine import usable_cores
from profiler.settings import Config, UpdateRule
from runtime.pipeline import cores_for
from runtime.results import ChannelName
from runtime.worker import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        asked: The partitions, those that the model does not allow included.
        minibatches: Of each run; 0 for as many as a second or two take.
        repeats: How many rounds at most; a comparison that is open after fewer is gone on with.
        full: Whether every split runs in every round; else those only that may still be the fastest.
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
    repeats: Annotated[int, Meta(ge=1)]
    full: bool


def request_of(config: Config, settings: Settings) -> Request:
    """Return what is asked for.

    Args:
        config: The model, its minibatch, the rounds, the partitions.
        settings: How splits run.
    """
    return Request(
        model=config.name,
        batch_size=config.batch_size,
        input_shape=config.input_shape,
        minibatches=config.batches or 0,
        num_stages=config.stages,
        cores=cores_for(config.stages, usable_cores(config.cores)),
        schedule=settings.pace.name,
        update_every=settings.pace.update_every,
        channel=settings.channel,
        rule=settings.rule,
        data=settings.data,
        loss=config.loss,
        slice=config.slice,
        precision=config.precision,
        asked=tuple(wanted_names(list(config.partitions), config, load_schemes())),
        repeats=config.repeats,
        full=config.full,
    )
