"""Refuse to run a plan unless every rank has been given the same, on the same software."""

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING

import runtime.worker
from optimizer.plan import Plan
from profiler.files import digest, to_json
from profiler.machine import bfloat16_instructions
from profiler.settings import Config
from runtime.cluster.rank_differences import agree
from runtime.cluster.session import Session
from runtime.errors import InputError
from runtime.worker import Settings

if TYPE_CHECKING:
    from torch import Tensor


def agree_on_plan(session: Session, plan: Plan, config: Config, settings: Settings) -> None:
    """Refuse to go on unless every rank of a distributed session has been given the same, on the same software."""
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
        "answer to a loss that is no number": settings.on_nan,
        "seed": str(settings.seed),
    }
    if plan.form.lowered:
        facts |= {"set of instructions for bfloat16": bfloat16_instructions() or "none"}
    agree(session, "what was given", facts)
    # what is wrong with it is wrong on all ranks, and now known to all at once
    ranks = len(session.members)
    if len(plan.stages) != ranks:
        raise InputError(
            f"the plan has {len(plan.stages)} stages and there are {ranks} ranks; start as many with "
            f"--nnodes and --nproc-per-node, or plan for {ranks}"
        )
    _refuse_other_hosts(session, plan)


def _refuse_other_hosts(session: Session, plan: Plan) -> None:
    """Refuse a plan that was made for the links between other hosts, or for these in another order."""
    for member, wanted in zip(session.members, plan.network.ranks if plan.network else (), strict=False):
        if member.host != wanted.host:
            hosts = ", ".join(rank.host for rank in plan.network.ranks) if plan.network else ""
            raise InputError(
                f"the plan was made for the links between {hosts}, and rank {member.rank} runs on {member.host}, not "
                f"on {wanted.host}; start the ranks in that order with --node-rank, or measure the links again"
            )


def agree_on_weights(session: Session, model_digest: str, initial: "Mapping[str, Tensor]") -> None:
    """Refuse to go on unless every rank has built the same model with the same ``initial`` weights."""
    if not session.distributed:
        return
    weights = runtime.worker.digest_of_state(initial)
    agree(session, "what was built", {"model": model_digest, "set of initial weights": weights})
