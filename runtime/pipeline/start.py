"""Start what a command runs plans on: a core and a process for every stage, an execution for every form."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

from optimizer.plan import Plan
from profiler.capture import captured_model, minibatch, refuse_unfaithful_briefly
from profiler.cli import note
from profiler.machine import usable_cores
from profiler.profile import PLAIN_FORM, Form
from profiler.settings import Config
from runtime.hosts import Session, placement
from runtime.pipeline.core_assignment import cores_for
from runtime.pipeline.execution import Execution
from runtime.supervisor import Watch, WorkerPool
from runtime.worker import Settings


def pool_of(cores: tuple[int, ...], stall_timeout_s: float | None, session: Session | None = None) -> WorkerPool:
    """Start a process for each core: for every stage, or for that of this rank.

    Args:
        cores: Of every stage, or of that of this rank.
        stall_timeout_s: How long a stage may be at one action before it counts as hung; None: by its prediction.
        session: With whom this process runs the plan; None: alone.
    """
    if session and session.distributed:
        return WorkerPool(cores, stall_timeout_s=stall_timeout_s, ranks=(session.rank,), look=session.look)
    return WorkerPool(cores, stall_timeout_s=stall_timeout_s)


@contextmanager
def executions_of(
    config: Config,
    plans: Iterable[Plan],
    pool: WorkerPool,
    settings: Settings,
    watch: Watch | None = None,
    *,
    session: Session | None = None,
) -> Iterator[dict[Form, Execution]]:
    """Yield an execution for each form among ``plans``, none loaded; afterwards say if a run diverged.

    An unfaithful model is refused, as are ranks with other weights.
    """
    whole = captured_model(config)
    with redirect_stdout(sys.stderr):
        refuse_unfaithful_briefly(whole, *minibatch(config, whole))
    executions: dict[Form, Execution] = {}
    with ExitStack() as stack:
        for form in dict.fromkeys(plan.form for plan in plans):
            captured = whole if form == PLAIN_FORM else captured_model(config, form)
            executions[form] = stack.enter_context(Execution(captured, pool, settings, watch, session))
            executions[form].agree_on_weights()
        del whole, captured
        yield executions
    if any(execution.diverged for execution in executions.values()):
        sentence = "the loss is no longer a finite number: training diverged; lower lr in a configuration file"
        note(f"{config.name}: {sentence}")


def cores_of(config: Config, stages: int) -> tuple[int, ...]:
    """Return a core for each stage; under torchrun, that of this rank."""
    usable = usable_cores(config.cores)
    if place := placement():
        return (usable[place.local_rank % len(usable)],)
    return cores_for(stages, usable)
