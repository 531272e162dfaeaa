"""Compare partitions of a model that is in memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from optimizer.schedule import ASYNCHRONOUS, pace_of
from profiler.capture import SEED, LossFunction, Model, Sample, as_file, live_model
from profiler.cli import keeping_quiet, settled_precision
from profiler.machine import refuse_reimport
from profiler.profile import PrecisionName
from profiler.python_arguments import Cores, Count, Hint, python_face
from profiler.settings import DEFAULT_RULE, Update
from runtime.compare import Comparison, carry_out, job_of, request_of
from runtime.worker import Settings


@python_face
def compare(
    model: Model,
    sample: Sample,
    *,
    loss: LossFunction | None = None,
    stages: Count = 4,
    partitions: Annotated[Sequence[str], Hint("write partitions=['all'], say")] = ("all",),
    repeats: Count = 3,
    minibatches: Count | None = None,
    full: bool = False,
    update: Update = DEFAULT_RULE,
    precision: PrecisionName = "fp32",
    slice: str = "auto",  # noqa: A002 - as the command calls it
    cores: Cores = (),
    quiet: bool = False,
) -> Comparison:
    """Run splits of ``model`` in turn and compare them, as ``python -m runtime compare`` does, on synthetic labels.

    Args:
        model: On the CPU; it is left as it is.
        sample: One minibatch of inputs (N, …), as the model is called with. Of several inputs, these samples are what
            all minibatches are made of.
        loss: What it is trained for; None for cross-entropy; ``model`` for the loss that the model returns.
        stages: One a core, or on the virtual clock where cores are too few.
        partitions: Which to run, by name.
        repeats: How many rounds.
        minibatches: How many a run trains on; None: as many as take a few seconds.
        full: Whether every partition runs in every round; else only those that may still be the fastest.
        update: The update rule.
        precision: In which layers run: ``fp32``, ``bf16``, or ``auto``, with which the partition ``bf16`` joins.
        slice: Which layers may be cut inside: ``auto``, ``none``, or such as ``classifier.1=4``.
        cores: Those to use; without any, those that this process may use.
        quiet: Whether to show no progress on stderr.

    Raises:
        ModelError, CaptureError: The model cannot be captured.
        ConfigError: It allows none of the partitions, or an option says what it cannot.
        RunError: A stage did not start.
    """
    refuse_reimport()
    live = live_model(model, sample, loss)
    with as_file(live, update) as named, keeping_quiet(quiet):
        folder = Path(named.model).parent
        config = replace(
            named, stages=stages, partitions=tuple(partitions), repeats=repeats, batches=minibatches, slice=slice,
            cores=tuple(cores), profiles=str(folder), precision=precision, full=full,
        )  # fmt: skip
        config = settled_precision(config)
        settings = Settings(
            rule=config.rule, seed=SEED, pace=pace_of(ASYNCHRONOUS, stages), vocabulary=config.vocabulary
        )
        request = request_of(config, settings)
        comparison = carry_out(job_of(config, settings, folder / "comparison.json", request), fresh=True)
    return replace(comparison, command=f"stageplan.compare({live.name}(…), …)")
