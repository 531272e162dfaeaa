"""Train with plain PyTorch, in one process with a thread for each core, which a user would run instead, and time that.

With the process settings that our stages have, channels last and a fused update, for that is faster than torch's
defaults. The process is started for each run and ended after it, so that it takes part in nobody's memory.
"""

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Literal

import msgspec

from profiler.capture import SEED
from profiler.machine import uninterrupted
from profiler.settings import Config
from runtime.errors import RunError

START_S = 120.0
"""How long starting and warming up may take where nothing is known."""
GENEROSITY = 20.0
WARM_UP_UPDATES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What the process is told: as JSON, on its standard input.

    Attributes:
        update_every: Minibatches an update.
        cores: A thread for each.
        parent: With whose end it ends.
        precision: ``bf16`` under torch's autocast.
    """

    config: Config
    seed: int = SEED
    update_every: int
    cores: tuple[int, ...]
    parent: int
    precision: Literal["fp32", "bf16"]


def why_left_out(config: Config, cores: Collection[int], data: str) -> str:
    """Say why plain PyTorch does not run beside a comparison, if that is so.

    Args:
        config: The model, its loss and its update rule.
        cores: The distinct cores that there are.
        data: The loader that the comparison trains from; nothing for synthetic data.
    """
    if len(cores) == 1:
        return "Plain PyTorch is left out: there is one core, and one core is in every comparison."
    if data:
        return "Plain PyTorch is left out: it trains on synthetic data, and --data was given."
    if config.loss or config.rule.clip or config.rule.clip_norm:
        return "Plain PyTorch is left out: it trains for cross-entropy and clips no gradients."
    return ""


def run_baseline(
    config: Config,
    cores: Sequence[int],
    update_every: int,
    *,
    step_s: float,
    precision: Literal["fp32", "bf16"],
) -> float:
    """Train in one process, and return its samples per second.

    Args:
        config: Model, minibatch, update rule, and the minibatches of a run.
        cores: Where it runs, with a thread for each.
        update_every: How many minibatches an update takes.
        step_s: What a minibatch takes on one core, for how long to wait.
        precision: ``fp32``, or ``bf16`` under torch's autocast.
    """
    spec = Spec(
        config=config, update_every=update_every, cores=tuple(cores), parent=os.getpid(),
        precision=precision,
    )  # fmt: skip
    minibatches = config.minibatches() + WARM_UP_UPDATES * update_every
    patience_s = START_S + GENEROSITY * step_s * minibatches
    processes: list[subprocess.Popen[bytes]] = []
    with TemporaryFile() as told, TemporaryFile("w+") as said, TemporaryFile("w+", errors="replace") as failed:
        told.write(msgspec.json.encode(spec))
        told.seek(0)
        command = [sys.executable, "-m", "runtime.baselines.process"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # where models are found
        try:
            with uninterrupted():
                processes.append(subprocess.Popen(command, stdin=told, stdout=said, stderr=failed, env=environment))
            code = processes[0].wait(patience_s)
        except subprocess.TimeoutExpired as error:
            raise RunError("the process is far slower than its layers are") from error
        finally:
            with uninterrupted():
                for process in processes:
                    process.kill()
                    process.wait()
        if code:
            failed.seek(0)
            lines = failed.read().strip().splitlines() or [f"it ended with {code}"]
            raise RunError(f"the process ended: {lines[-1]}")
        said.seek(0)
        return float(said.read())
