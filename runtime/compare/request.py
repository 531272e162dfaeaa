"""The request that a comparison answers."""

from dataclasses import dataclass
from typing import Literal

from optimizer.schedule import ScheduleName
from profiler.settings import UpdateRule
from runtime.results import ChannelName

BaselineChoice = Literal["none", "threads", "all"]
"""No baseline, one process with a thread for each stage, or all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request that a comparison answers.

    Attributes:
        asked: The partitions, those that the model does not allow included.
        distinct_splits: Evenly spaced splits join the partitions until so many are distinct.
        repeats: How many rounds; a comparison with fewer is gone on with.
        baselines: Which of what a user would run instead run, too.
    """

    model: str
    batch_size: int
    input_shape: tuple[int, ...]
    minibatches: int
    num_stages: int
    cores: tuple[int, ...]
    schedule: ScheduleName
    update_every: int
    channel: ChannelName
    rule: UpdateRule
    data: str
    loss: str = ""
    slice: str
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    asked: tuple[str, ...]
    distinct_splits: int
    repeats: int
    baselines: BaselineChoice
