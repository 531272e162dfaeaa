"""Arguments that cannot be meant are refused where they are given, in Python's words, before any process starts."""

import inspect
import math
import re
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import pytest
import small_models
import strategies
import torch
from pipelines import SHAPE
from torch import nn
from trained import plan_for

import stageplan
from profiler.errors import StageplanError
from profiler.python_arguments import Cores, fitting

PROFILE = strategies.chain([1, 2, 3, 4])
PLAN = plan_for(small_models.Plain, 2)
MODEL = small_models.Plain()
INPUTS, TARGETS = torch.zeros(SHAPE), torch.zeros(SHAPE[0], dtype=torch.int64)
OPTIMIZER = torch.optim.SGD(MODEL.parameters(), lr=0.1)
TWO_INPUTS, IDS = small_models.TwoInputs(), torch.zeros(4, 6, dtype=torch.int64)
UNLABELLED = {"ids": IDS, "table": torch.zeros(4, 3)}
face: Any = stageplan
"""With no types, for most calls are wrong on purpose."""


def not_finite(_updates: int) -> float:
    return math.nan


def not_a_number(_updates: int) -> Any:
    return "0.1"


def raising(_updates: int) -> float:
    raise OSError("no such schedule")


MISTAKES: list[tuple[Callable[[], Any], list[str]]] = [
    (lambda: face.SGD(lr=-1), ["lr cannot be -1: it has to be a number >= 0.0; give such a value"]),
    (lambda: face.SGD(lr=True), ["lr cannot be True", "a number;"]),
    (lambda: face.SGD(0.1, momentum=1.5), ["momentum", "a number < 1.0", "1.5"]),
    (lambda: face.SGD(0.1, nesterov=1, momentum=0.9), ["nesterov", "True or False", "1"]),
    (lambda: face.SGD(0.1, nesterov=True), ["nesterov=True", "add momentum=0.9"]),
    (lambda: face.Adam(-0.1), ["lr", "-0.1", ">= 0.0"]),
    (lambda: face.Adam(betas=(0.9, 1.0)), ["betas cannot be (0.9, 1.0)", "a list, each a number < 1.0;"]),
    (lambda: face.Adam(betas=0.9), ["betas", "0.9", "a list;"]),
    (lambda: face.Constant(0.1, warmup=-1), ["warmup", "-1", "a whole number >= 0;"]),
    (lambda: face.Steps(0.1, every=0), ["every cannot be 0", ">= 1", "write every=1000"]),
    (lambda: face.Steps(0.1, every=5, factor=0), ["factor cannot be 0", "a number > 0.0;"]),
    (lambda: face.Cosine(0.1, updates=2.5), ["updates", "2.5", "write updates=1000"]),
    (lambda: face.plan(MODEL), ["profile cannot be Plain(", "has to be of type Profile", "stageplan.profile("]),
    (lambda: face.plan(PROFILE, stages=0), ["stages cannot be 0: it has to be a whole number >= 1; write stages=4"]),
    (lambda: face.plan(PROFILE, stages=2.0), ["stages cannot be 2.0", "a whole number; write stages=4"]),
    (lambda: face.plan(PROFILE, stages=9), ["cannot be cut into 9 stages", "use --stages 4 or fewer"]),
    (lambda: face.plan(PROFILE, stages=2, memory_limit_bytes=5), ["use --memory-limit 1MiB or more, or a smaller"]),
    (lambda: face.plan(PROFILE, update_every=0), ["update_every cannot be 0", ">= 1"]),
    (lambda: face.plan(PROFILE, schedule="1f1B"), ["schedule cannot be '1f1B': it has to be '1f1b' or 'zero-bubble'"]),
    (lambda: face.plan(PROFILE, stages=2, method="best"), ["there is no method 'best'"]),
    (lambda: face.plan(PROFILE, method="end-load", cut_after=["l0"]), ["--cut-after is of the best split and"]),
    (lambda: face.plan(PROFILE, cut_after="l0"), ["cut_after cannot be 'l0': it has to be a list"]),
    (lambda: face.plan(PROFILE, cut_after=["l0,"]), ["'l0,' is not a list of layers"]),
    (lambda: face.profile(MODEL, INPUTS, precision="bf61"), ["precision", "'bf61': it has to be 'fp32' or 'bf16'"]),
    (lambda: face.profile(MODEL, INPUTS, slice="fc"), ["'fc'", "is no layer with its blocks"]),
    (lambda: face.profile(MODEL, [(INPUTS, TARGETS)] * 4), ["sample", "a list of 4", "next(iter(loader))"]),
    (lambda: face.profile(MODEL, (INPUTS, TARGETS, TARGETS)), ["sample", "a tuple of 3", "which are inputs"]),
    (lambda: face.profile(MODEL, INPUTS.numpy()), ["sample", "a ndarray", "torch.from_numpy"]),
    (lambda: face.profile(MODEL, torch.zeros(0, 6)), ["sample is a tensor of shape (0, 6); a minibatch of inputs"]),
    (lambda: face.profile(MODEL, torch.zeros(6)), ["the sample is a tensor of shape (6,)"]),
    (lambda: face.profile(MODEL, {"a": 1}), ["a dict without a tensor to call the model with;", "next(iter(loader))"]),
    (lambda: face.profile(MODEL, INPUTS.byte()), ["the sample is of torch.uint8;", "sample.float()"]),
    (lambda: face.profile(TWO_INPUTS, {"ids": IDS, "odd": IDS}), ["'odd', which the model's forward does not take"]),
    (lambda: face.profile(TWO_INPUTS, {"ids": IDS, "mask": IDS[:3]}), ["shapes ids (4, 6), mask (3, 6); each has"]),
    (lambda: face.profile(TWO_INPUTS, UNLABELLED, loss="model"), ["without one; give it the labels"]),
    (lambda: face.profile(TWO_INPUTS, {"ids": IDS}), ["missing 1 required positional argument: 'table'"]),
    (lambda: face.profile(small_models.Plain, INPUTS), ["model cannot be <class 'small_models.Plain'>", "comes first"]),
    (lambda: face.profile(MODEL, INPUTS, update=OPTIMIZER), ["update cannot be SGD (", "update=stageplan.SGD("]),
    (lambda: face.profile(MODEL, INPUTS, loss="mse"), ["loss", "'mse'", "write loss=torch.nn.functional.mse_loss"]),
    (lambda: face.profile(MODEL, INPUTS, loss=nn.MSELoss), ["loss", "MSELoss'>: it has to be a function or 'model'"]),
    (lambda: face.profile(MODEL, INPUTS, loss=nn.Linear(5, 1)), ["the loss Linear has parameters of its own"]),
    (lambda: face.profile(MODEL, INPUTS, budget_s=0), ["budget_s cannot be 0", "a number > 0.0;"]),
    (lambda: face.profile(MODEL, INPUTS, cores="0,1"), ["cores cannot be '0,1'", "a list; write cores=[0, 1], say"]),
    (lambda: face.profile(MODEL, INPUTS, cores=[4095]), ["may not use core 4095", "it may use --cores "]),
    (lambda: face.profile(MODEL, INPUTS, cores=[0, 0]), ["names core 0 more than once; write --cores 0"]),
    (lambda: face.profile(MODEL, INPUTS, cores=[-1]), ["cores cannot be [-1]", "a list, each a whole number >= 0;"]),
    (lambda: face.compare(MODEL, INPUTS, partitions="all"), ["'all'", "a list; write partitions=['all'], say"]),
    (lambda: face.compare(MODEL, INPUTS, partitions=["optimised"]), ["'optimised' (did you mean 'optimized'?)"]),
    (lambda: face.compare(MODEL, INPUTS, partitions=["bf16"]), ["partition bf16", "--precision auto"]),
    (lambda: face.compare(MODEL, INPUTS, repeats=0), ["repeats", "0", ">= 1"]),
    (lambda: face.Pipeline(PLAN, MODEL), ["model cannot be Plan(", "of type Module", "Pipeline(model, plan)"]),
    (lambda: face.Pipeline(MODEL, PROFILE), ["plan cannot be Profile(", "of type Plan", "stageplan.plan(profile"]),
    (lambda: face.Pipeline(MODEL, PLAN, update=torch.optim.SGD), ["update", "class 'torch.optim.sgd.SGD'"]),
    (lambda: face.Pipeline(MODEL, PLAN, learning_rate="cosine"), ["learning_rate", "'cosine'", "stageplan.Cosine("]),
    (lambda: face.Pipeline(MODEL, PLAN, learning_rate=not_finite), ["not_finite(0)", "nan: it has to be a number"]),
    (lambda: face.Pipeline(MODEL, PLAN, learning_rate=not_a_number), ["not_a_number(0)", "'0.1'"]),
    (lambda: face.Pipeline(MODEL, PLAN, learning_rate=raising), ["raising(0)", "raised OSError: no such schedule"]),
    (lambda: face.Pipeline(MODEL, PLAN, schedule="gpip"), ["schedule", "'gpip'", "or 'gpipe'"]),
    (lambda: face.Pipeline(MODEL, PLAN, channel="shared"), ["channel", "'shm' or 'gloo'", "'shared'"]),
    (lambda: face.Pipeline(MODEL, PLAN, seed="1"), ["seed cannot be '1'", "a whole number;"]),
    (lambda: face.Pipeline(MODEL, PLAN, stall_timeout_s=-1), ["stall_timeout_s", "-1", "a number > 0.0;"]),
    (lambda: face.Pipeline(MODEL, PLAN).evaluate([], "accuracy"), ["metric", "'accuracy'"]),
    (lambda: face.Pipeline(MODEL, PLAN).resume("/proc/none"), ["/proc/none", "or Pipeline.save, has written"]),
    (lambda: PLAN.save("/proc/none"), ["/proc/none", "give another place"]),
    (lambda: face.load(3), ["path cannot be 3: it has to be a text or of type Path"]),
]  # fmt: skip


@pytest.mark.parametrize(("mistake", "words"), MISTAKES)
def test_a_mistake_is_told_in_one_sentence_of_python_before_a_process_starts(
    mistake: Callable[[], Any], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseProcess, "start", lambda _process: pytest.fail("a process was started"))
    with pytest.raises(StageplanError) as raised:
        mistake()
    said = str(raised.value)
    assert all(word in said for word in words), said
    assert "\n" not in said
    assert raised.value.exit_code in (2, 3)


def test_numbers_of_numpy_and_what_torch_allows_are_taken() -> None:
    assert face.SGD(np.float32(0.5)) == face.SGD(lr=0.5)
    assert face.SGD(0) == face.SGD(lr=0.0)
    assert face.Adam(1, betas=[0.5, 0.5]) == face.Adam(lr=1.0, betas=(0.5, 0.5))
    assert face.plan(PROFILE, stages=np.int64(2)) == face.plan(PROFILE, stages=2)
    assert fitting("cores", range(2), Cores) == fitting("cores", np.arange(2), Cores) == [0, 1]
    assert face.Steps(0.1, every=2) == face.Steps(lr=0.1, every=2)
    assert face.Cosine(0.1, updates=2) == face.Cosine(lr=0.1, updates=2)


@pytest.mark.parametrize("name", ["profile", "plan", "compare", "load", "Pipeline", "SGD", "AdamW", "Steps", "Cosine"])
def test_help_shows_types_by_their_plain_names(name: str) -> None:
    shown = str(inspect.signature(getattr(face, name)))
    assert not re.search(r"Annotated|Meta\(|Hint\(|NoneType|[a-z]\.[A-Z]", shown)
    first = {
        "SGD": "(lr: float = 0.01, *, momentum: float = 0.0",
        "plan": "(profile: Profile, *, stages: ",
    }
    assert shown.startswith(first.get(name, "("))


def test_what_does_not_fit_a_signature_is_told_as_python_tells_it() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'stage'"):
        face.plan(PROFILE, stage=2)
