"""A comparison that is wanted, and the request that it comes to."""

from dataclasses import dataclass
from pathlib import Path

from optimizer.cli import wanted_names
from optimizer.planning import Schemes
from profiler.errors import ConfigError
from profiler.machine import usable_cores
from profiler.settings import Config
from runtime.compare import Request
from runtime.pipeline import cores_for
from runtime.results import Clock
from runtime.worker import Settings

AUDITED_SPLITS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A comparison that is wanted.

    Attributes:
        config: The model, its minibatch, the rounds, the partitions.
        settings: How splits run.
        path: Where the comparison is kept.
        clock: By which they run; None: as their cores allow.
        baselines: Whether one process with several threads runs, too.
        audit: Whether to run evenly spaced splits.
        fresh: Whether to measure anew what is there already.
        quick: Whether a profile of few rounds will do.
        budget_s: How long to measure a profile, where none is kept that fits; None: for the usual time.
    """

    config: Config
    settings: Settings
    path: Path
    clock: Clock | None = None
    baselines: bool = False
    audit: bool = False
    fresh: bool = False
    quick: bool = False
    budget_s: float | None = None


def request_of(wish: Wish, schemes: Schemes) -> Request:
    """Return what is asked for."""
    config, settings = wish.config, wish.settings
    if wish.baselines and settings.data:
        raise ConfigError("--baselines train on synthetic data; leave --data out")
    if wish.baselines and (config.rule.clip or config.rule.clip_norm or config.loss):
        raise ConfigError("--baselines train for cross-entropy and clip no gradients; leave loss, clip and clip_norm "
                          "out of the configuration")  # fmt: skip
    asked = tuple(wanted_names(list(config.partitions), config, schemes))
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
        asked=asked,
        distinct_splits=AUDITED_SPLITS if wish.audit else 0,
        repeats=config.repeats,
        full=config.full,
        baselines=wish.baselines,
    )
