"""Train in one process with a thread for each stage, which a user would run instead of a pipeline, and time that.

As installed, with torch's defaults for memory format, allocator and update rule, and tuned, with the process settings
that our stages have. The process is started for each run and ended after it, so that it takes part in nobody's memory.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Literal

import msgspec

from profiler.capture import SEED
from profiler.machine import uninterrupted
from profiler.settings import Config
from runtime.errors import RunError
from runtime.pipeline import own_cores

START_S = 120.0
"""How long starting and warming up may take where nothing is known."""
GENEROSITY = 20.0
WARM_UP_UPDATES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What the process is told: as JSON, on its standard input.

    Attributes:
        tuned: Whether it runs under our process settings; otherwise as installed.
        update_every: Minibatches an update.
        cores: A thread for each.
        parent: With whose end it ends.
        precision: ``bf16`` under torch's autocast.
    """

    tuned: bool
    config: Config
    seed: int = SEED
    update_every: int
    cores: tuple[int, ...]
    parent: int
    precision: Literal["fp32", "bf16"]


def why_left_out(cores: Sequence[int]) -> str:
    """Say why nothing runs on ``cores`` in one process, if that is so.

    It runs on the wall clock, with as many cores as there are stages, so every stage has to have one of its own.
    """
    count = len(cores)
    if count == 1:
        return "Baselines were left out: one stage is one core, which every comparison has."
    if own_cores(cores):
        return ""
    return (
        f"Baselines were left out: to compare with {count} stages they need {count} cores, and there are "
        f"{len(set(cores))}; what they would do with {count} cannot be worked out."
    )


def run_baseline(
    config: Config,
    cores: Sequence[int],
    update_every: int,
    *,
    tuned: bool,
    step_s: float,
    precision: Literal["fp32", "bf16"],
) -> float:
    """Train in one process, and return its samples per second.

    Args:
        config: Model, minibatch, update rule, and the minibatches of a run.
        cores: Where it runs, with a thread for each.
        update_every: How many minibatches an update takes.
        tuned: Whether it runs under our process settings; otherwise as installed.
        step_s: What a minibatch takes on one core, for how long to wait.
        precision: ``fp32``, or ``bf16`` under torch's autocast.
    """
    spec = Spec(
        tuned=tuned, config=config, update_every=update_every, cores=tuple(cores), parent=os.getpid(),
        precision=precision,
    )  # fmt: skip
    minibatches = config.minibatches() + WARM_UP_UPDATES * update_every
    patience_s = START_S + GENEROSITY * step_s * minibatches
    processes: list[subprocess.Popen[bytes]] = []
    with TemporaryFile() as told, TemporaryFile("w+") as said, TemporaryFile("w+", errors="replace") as failed:
        told.write(msgspec.json.encode(spec))
        told.seek(0)
        command = [sys.executable, "-m", "runtime.baselines.process"]
        try:
            with uninterrupted():
                processes.append(subprocess.Popen(command, stdin=told, stdout=said, stderr=failed))
            code = processes[0].wait(patience_s)
        except subprocess.TimeoutExpired as error:
            raise RunError("the process is far slower than its layers are; leave --baselines out") from error
        finally:
            with uninterrupted():
                for process in processes:
                    process.kill()
                    process.wait()
        if code:
            failed.seek(0)
            lines = failed.read().strip().splitlines() or [f"it ended with {code}"]
            raise RunError(f"the process ended: {lines[-1]}; leave --baselines out")
        said.seek(0)
        return float(said.read())
