"""Refuse to run unless every rank has been given the same, on the same software, and name the one that differs."""

import importlib.metadata
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import runtime.worker
from optimizer.plan import Plan
from profiler.files import digest, to_json
from profiler.machine import bfloat16_instructions
from profiler.settings import Config
from runtime.errors import InputError
from runtime.hosts.session import Session
from runtime.worker import Settings

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN = 12
"""So much of a long value, such as a digest, is told."""


def agree(session: Session, facts: Mapping[str, str]) -> None:
    """Refuse to go on unless all ranks have the same facts, by name; the first whose are not those of most is named."""
    members, every_rank = session.members, session.exchange(dict(facts), dict[str, str])
    for name in every_rank[0]:
        values = [own.get(name, "nothing") for own in every_rank]
        usual = Counter(values).most_common(1)[0][0]  # of equals, that of the lowest rank
        for member, value in zip(members, values, strict=True):
            if value != usual:
                other = members[values.index(usual)]
                raise InputError(
                    f"{member} has another {name} ({value[:_SHOWN]}) than {other} ({usual[:_SHOWN]}); give every rank "
                    "the same plan, configuration and options, and install the same versions on every host"
                )


def agree_on_plan(session: Session, plan: Plan, config: Config, settings: Settings) -> None:
    """Raise InputError, on every rank, unless all have the same plan, settings and software, and it fits the ranks."""
    if not session.distributed:
        return
    facts = {"plan": digest(to_json(plan))}
    facts |= {name: importlib.metadata.version(name) for name in ("stageplan", "torch", "torchvision")}
    facts |= {
        "update rule": str(to_json(config.rule)),
        "number of minibatches": str(config.minibatches(settings.pace.update_every)),
        "schedule": settings.pace.words,
        "learning rate": f"{config.warmup} {config.decay} {config.decay_updates} {config.decay_factor}",
        "loss": config.loss or "cross-entropy",
        "data factory": settings.data or "synthetic",
        "seed": str(settings.seed),
    }
    if plan.form.lowered:
        facts |= {"set of instructions for bfloat16": bfloat16_instructions() or "none"}
    agree(session, facts)
    # what is wrong with it is wrong on all ranks, and now known to all at once
    ranks = len(session.members)
    if len(plan.stages) != ranks:
        raise InputError(
            f"the plan has {len(plan.stages)} stages and there are {ranks} ranks; start as many with "
            f"--nnodes and --nproc-per-node, or plan for {ranks}"
        )


def agree_on_weights(session: Session, model_digest: str, initial: "Mapping[str, Tensor]") -> None:
    """Refuse to go on unless every rank has built the same model with the same ``initial`` weights."""
    if session.distributed:
        weights = runtime.worker.digest_of_state(initial)
        agree(session, {"model": model_digest, "set of initial weights": weights})
