"""Run baselines, which a user would run instead of a pipeline, on the same cores, and take their throughput.

Each runs as installed, with torch's defaults for memory format, allocator and update rule, and tuned, with the process
settings that our stages have. Processes are started for each run and ended after it, so that none of them takes part in
another's memory.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import IO, Literal

import msgspec

import runtime.channels
from optimizer.plan import Plan
from profiler.capture import SEED
from profiler.machine import uninterrupted
from profiler.profile import FP32
from profiler.settings import Config
from runtime.baselines.baseline import Baseline, BaselineChoice
from runtime.channels import Rendezvous
from runtime.errors import RunError
from runtime.pipeline import own_cores

Kind = Literal["process", "ddp", "pipelining"]
Precision = Literal["fp32", "bf16"]
START_S = 120.0
"""How long starting and warming up may take where nothing is known."""
GENEROSITY = 20.0
MICRO_BATCHES = 8
"""So many the other engine averages in an update, where the schedule says nothing; no fewer than it asks for."""
TICK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The specification of one process of a baseline.

    Attributes:
        threads: Of the ``process`` kind; the others have one each.
        cores: Those of the whole baseline.
        update_every: Minibatches an update, those of all processes together.
        stages: The layers of each stage, for ``pipelining``.
        precision: ``bf16`` under torch's autocast.
        rendezvous: Where its processes meet, if it has several.
    """

    kind: Kind
    tuned: bool
    threads: int
    config: Config
    seed: int
    update_every: int
    cores: tuple[int, ...]
    rank: int = 0
    world_size: int = 1
    rendezvous: Rendezvous | None = None
    parent: int = 0
    stages: tuple[tuple[str, ...], ...] = ()
    precision: Precision = FP32


def baseline_rows(
    choice: BaselineChoice, cores: Sequence[int], update_every: int = 1
) -> tuple[tuple[Baseline, ...], str]:
    """Return the baselines that are to run on ``cores``, none of which has yet, or why there are none.

    Each updates as often as a pipeline that does so every ``update_every`` minibatches, as far as it can.

    They run on the wall clock, with as many cores as there are stages, so every stage has to have one of its own.
    """
    count = len(cores)
    if choice == "none":
        return (), ""
    if count == 1:
        return (), "Baselines were left out: one stage is one core, which every comparison has."
    if not own_cores(cores):
        return (), (
            f"Baselines were left out: to compare with {count} stages they need {count} cores, and there are "
            f"{len(set(cores))}; what they would do with {count} cannot be worked out."
        )
    kinds = _kinds(count, update_every)
    names = list(kinds)[:1] if choice == "threads" else list(kinds)
    rows = tuple(
        Baseline(name=name, tuned=tuned, update_every=kinds[name][2])
        for name in names
        for tuned in ((True,) if choice == "threads" else (False, True))
    )
    return rows, ""


def _kinds(count: int, update_every: int) -> dict[str, tuple[Kind, int, int]]:
    """Return kind, threads and minibatches an update of each baseline on so many cores, by name.

    Replicas have a minibatch each, and torch's pipeline wants one for each stage at least. Where ours updates after
    each minibatch, that pipeline takes enough of them to be worth its while.
    """
    micro_batches = MICRO_BATCHES if update_every == 1 else max(count, update_every)
    return {
        f"one process, {count} threads": ("process", count, update_every),
        f"DistributedDataParallel, {count} × gloo": ("ddp", 1, count * max(1, round(update_every / count))),
        "torch.distributed.pipelining 1F1B": ("pipelining", 1, micro_batches),
    }


class Baselines:
    """Trains as the baselines of one comparison do."""

    def __init__(
        self, config: Config, plan: Plan, cores: Sequence[int], precision: Literal["fp32", "bf16"] = FP32
    ) -> None:
        """Prepare the baselines.

        Args:
            config: Model, minibatch, update rule, and the minibatches of a run.
            plan: Whose split torch's pipeline takes.
            cores: Where they run.
            precision: ``fp32``, or ``bf16`` under torch's autocast.
        """
        self._config, self._plan, self._cores, self._precision = config, plan, tuple(cores), precision

    def run(self, baseline: Baseline) -> tuple[float, float]:
        """Train as one baseline does, and return its samples per second, and 0 for the load that is not known."""
        kind, threads, _ = _kinds(len(self._cores), baseline.update_every)[baseline.name]
        world = 1 if kind == "process" else len(self._cores)
        store = runtime.channels.open_store() if world > 1 else None  # which lasts as long as they run
        spec = Spec(
            kind=kind,
            tuned=baseline.tuned,
            threads=threads,
            config=self._config,
            seed=SEED,
            update_every=baseline.update_every,
            cores=self._cores,
            world_size=world,
            rendezvous=runtime.channels.rendezvous_of(store) if store else None,
            parent=os.getpid(),
            stages=self._plan.split,
            precision=self._precision,
        )
        whole_s = (
            sum(stage.total_s for stage in self._plan.stages) * (self._config.minibatches() + 2 * MICRO_BATCHES) * world
        )
        return _speed(baseline.row, spec, START_S + GENEROSITY * whole_s), 0.0


def _speed(row: str, spec: Spec, patience_s: float) -> float:
    """Run all processes of a baseline; the first one says how fast it was."""
    command = [sys.executable, "-m", "runtime.baselines.process"]
    with ExitStack() as stack:
        said = [stack.enter_context(TemporaryFile("w+", errors="replace")) for _ in range(2 * spec.world_size)]
        processes: list[subprocess.Popen[bytes]] = []
        stack.callback(_end, processes)
        for rank in range(spec.world_size):
            told = stack.enter_context(TemporaryFile())
            told.write(msgspec.json.encode(replace(spec, rank=rank)))
            told.seek(0)
            with uninterrupted():
                process = subprocess.Popen(command, stdin=told, stdout=said[2 * rank], stderr=said[2 * rank + 1])
                processes.append(process)
        _wait(row, processes, said[1::2], time.monotonic() + patience_s)
        said[0].seek(0)
        return float(said[0].read())


def _wait(row: str, processes: Sequence[subprocess.Popen[bytes]], errors: Sequence[IO[str]], until_s: float) -> None:
    """Wait until all processes have ended well."""
    while None in (codes := [process.poll() for process in processes]) or any(codes):
        failed = next((rank for rank, code in enumerate(codes) if code), None)
        if failed is not None:
            errors[failed].seek(0)
            lines = errors[failed].read().strip().splitlines() or [f"it ended with {codes[failed]}"]
            raise RunError(f"the baseline {row} failed in process {failed}: {lines[-1]}; leave --baselines out")
        if time.monotonic() > until_s:
            raise RunError(f"the baseline {row} is far slower than its layers are; leave --baselines out")
        time.sleep(TICK_S)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    with uninterrupted():
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
