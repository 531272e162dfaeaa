"""Small models that hold every construct that splitting has to get right."""

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.fx
import torch.utils.checkpoint
from torch import Tensor, nn

IMAGE_SIZE = 16
CLASSES = 5


class Residual(nn.Module):
    """Convolution, batch norm, in-place ReLU, dropout and a residual add; cuts inside the block carry two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.shortcut = nn.Conv2d(8, 8, 1)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem_norm(self.stem(x)))
        y = self.drop(self.relu(self.norm1(self.conv1(x))))
        y = self.relu(self.conv2(y) + self.shortcut(x))
        return self.fc(torch.flatten(self.pool(y), 1))


class Plain(nn.Module):
    """A chain of six layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(768, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def NarrowPlace() -> nn.Module:  # noqa: N802 - stands where a class may
    """Eight layers of equal work that all hand much on, and one narrow place, behind the third."""
    wide = [nn.Conv2d(64, 64, 1) for _ in range(8)]
    return nn.Sequential(
        nn.Conv2d(3, 64, 1), *wide[:3], nn.Conv2d(64, 1, 1), nn.Conv2d(1, 64, 1), *wide[3:],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES),
    )  # fmt: skip


class Tied(nn.Module):
    """Two layers that share one weight, and a scale that the model reads directly."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.inside = nn.Linear(768, 8)
        self.first = nn.Linear(8, 8)
        self.middle = nn.Tanh()
        self.second = nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.ones(8))
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.inside(self.flatten(x)))
        return self.out(self.second(self.middle(x)) * self.scale)


class TwoInputs(nn.Module):
    """Token ids with a mask that may hide some, and a table; its loss, where labels are given."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.table = nn.Embedding(10, 8), nn.Linear(3, 8)
        self.middle, self.head = nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(
        self, ids: Tensor, table: Tensor, mask: Tensor | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        embedded = self.tokens(ids)
        hidden = embedded if mask is None else embedded * mask[..., None]
        logits = self.head(torch.tanh(self.middle(torch.cat([hidden.sum(1), self.table(table)], 1))))
        return {"logits": logits} | ({} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels)})


def wide_convolution() -> nn.Module:
    """Weights of 18 MiB, whose channels are last in memory, and small activations."""
    return nn.Sequential(
        nn.Conv2d(3, 512, 1), nn.AdaptiveAvgPool2d(3), nn.Conv2d(512, 1024, 3), nn.Flatten(), nn.Linear(1024, CLASSES)
    )


class Pair(nn.Module):
    """Returns two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(768, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.fc(x.flatten(1)), x


class Three(NamedTuple):
    main: Tensor
    late: Tensor
    absent: None
    early: Tensor


class Heads(nn.Module):
    """Trains two auxiliary heads beside the main one, one of them made far before the end."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.first, self.second = nn.Flatten(), nn.Linear(768, 8), nn.Linear(8, 8)
        self.early, self.late, self.fc = nn.Linear(8, CLASSES), nn.Linear(8, CLASSES), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> "Three":
        x = torch.relu(self.first(self.flatten(x)))
        early = self.early(x)
        x = torch.relu(self.second(x))
        return Three(self.fc(torch.tanh(x)), self.late(x), None, early)


class Stateful(nn.Module):
    """Keeps a buffer of its own, reads a constant, and throws a head's result away."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.first = nn.Linear(768, 8)
        self.fc = nn.Linear(8, CLASSES)
        self.aux = nn.Linear(8, 2)
        self.plain = torch.full((8,), 0.5)
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(1.0)
        x = self.first(self.flatten(x)) * self.plain + self.seen
        y = self.fc(torch.relu(x))
        self.aux(x)
        return y


class LastInPlace(nn.Module):
    """Overwrites its result and returns it under the old name."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.first, self.fc = nn.Flatten(), nn.Linear(768, 8), nn.Linear(8, CLASSES)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(self.first(self.flatten(x)))
        self.relu(y)
        return y


def pause(x: Tensor) -> Tensor:
    """Hand on ``x`` after a moment of random length."""
    time.sleep(random.random() * 0.01)  # noqa: S311 - to disturb the order of things
    return x * 1.0


torch.fx.wrap("pause")


class Delayed(Residual):
    """Layers are followed by random delays."""

    def forward(self, x: Tensor) -> Tensor:
        x = pause(self.relu(self.stem_norm(pause(self.stem(x)))))
        y = pause(self.drop(self.relu(self.norm1(pause(self.conv1(x))))))
        y = self.relu(pause(self.conv2(y)) + self.shortcut(x))
        return self.fc(torch.flatten(pause(self.pool(y)), 1))


calls = {"forward": 0, "backward": 0}


class Fault(torch.autograd.Function):
    """Does nothing for a while, and then fails as it was told; never in the process that captures the model."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, how: str, after: int) -> Tensor:
        ctx.how, ctx.after = how, after
        strike("forward", how, after)
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        strike("backward", ctx.how, ctx.after)
        return gradient, None, None


def strike(phase: str, how: str, after: int) -> None:
    """Do what ``how`` says in a stage's process, at the call of ``phase`` that follows ``after`` others."""
    if multiprocessing.parent_process() is None:
        return
    calls[phase] += 1
    if calls[phase] <= after or not how.endswith(phase):
        return
    if mark := os.environ.get("STRUCK_AT"):
        Path(mark).write_text(str(time.perf_counter()))
    match how.split(maxsplit=1)[0]:
        case "raise":
            raise ValueError("on purpose\nsecond line")
        case "exit":
            os._exit(3)
        case "memory":
            torch.empty(1 << 50)
        case "slow":
            time.sleep(0.3)
        case "group":  # a control group in which memory runs out
            Path(os.environ["CONTROL_GROUP"], "cgroup.procs").write_text(str(os.getpid()))
            held = []
            while True:
                held.append(bytearray(b"1" * (8 << 20)))
        case name:
            send_signal(name)


def send_signal(name: str) -> None:
    signals = {"kill": signal.SIGKILL, "crash": signal.SIGSEGV, "stop": signal.SIGSTOP, "note": 0}
    if name == "orphan":  # with what it was forked from, it ends itself
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    os.kill(os.getpid(), signals[name])


def fault(x: Tensor, how: str, after: int) -> Tensor:
    return Fault.apply(x, how, after)


torch.fx.wrap("fault")


class Failing(nn.Module):
    """Its third of five layers fails in a stage's process, after as many calls as ``after`` says."""

    def __init__(self, how: str, after: int) -> None:
        super().__init__()
        self.how, self.after = how, after
        self.flatten = nn.Flatten()
        self.first = nn.Linear(768, 8)
        self.last = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(fault(self.first(self.flatten(x)), self.how, self.after)))


class SparseGradient(nn.Module):
    """Its update fails, for a sparse gradient has no momentum; the backward before it notes the time."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 8, sparse=True)
        self.flatten = nn.Flatten()
        self.last = nn.Linear(8 * 4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.flatten(fault(self.words(x), "note backward", -1)))


class ClassToken(nn.Module):
    """With one sample a minibatch, the gradient of its token is a view of what the stage behind sends back."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten(2)
        self.token = nn.Parameter(torch.zeros(1, 1, 256))
        self.mix = nn.Linear(256, 8)
        self.last = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(1, 1, 256), self.flatten(x)], 1)
        return self.last(torch.flatten(self.mix(x), 1))


def frozen_stem() -> nn.Module:
    model = Residual()
    model.stem.requires_grad_(requires_grad=False)
    return model


def fails_forward() -> nn.Module:
    return Failing("raise forward", 4)


def slow_for_ever() -> nn.Module:
    return Failing("slow forward", 0)


def large() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12288, 1024), nn.ReLU(inplace=True), nn.Linear(1024, CLASSES))


class Widened(nn.Module):
    """Makes a large value of a small one and adds it up at once; nothing of it is saved."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.fc = nn.Flatten(), nn.Linear(4096, CLASSES)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = (self.flatten(x)[:, :4096] * self.scale).unsqueeze(1)
        return self.fc(x.repeat(1, 512, 1).sum(dim=1))


class Straight(torch.autograd.Function):
    """The sign of its input, whose gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


class StraightThrough(Plain):
    """Learns only because its autograd function has a backward of its own; and prints."""

    def forward(self, x: Tensor) -> Tensor:
        print("printed by the model")  # noqa: T201
        for number, module in enumerate(self.layers):
            x = module(x)
            if number == 1:
                x = Straight.apply(x, 0.5)
        return x


class Cast(Plain):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.layers(x)


class CastOff(Plain):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return self.layers(x)


class Recomputing(Plain):
    """Computes what its layers do, and once more in the backward."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.layers, x, use_reentrant=False)


class Breaking(torch.autograd.Function):
    """Fails whenever its gradient is asked for, with an error of its own kind."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        raise LookupError("no gradient here")


def breaking(x: Tensor) -> Tensor:
    return Breaking.apply(x)


torch.fx.wrap("breaking")


_presses = os.memfd_create("presses")


def ctrl_c(x: Tensor) -> Tensor:
    """Press Ctrl-C in the process that the user started, when it has measured for a few rounds.

    The system counts the calls: a model whose forward changes a number in Python is refused.
    """
    os.write(_presses, b".")
    if multiprocessing.parent_process() is None and os.lseek(_presses, 0, os.SEEK_CUR) == 20:
        os.kill(os.getpid(), signal.SIGINT)
    return x * 1.0


torch.fx.wrap("ctrl_c")


class PressesCtrlC(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return ctrl_c(self.layers(x))


def varying() -> nn.Module:
    """Another model in every process but the one that the user started."""
    extra = [nn.Identity()] * 2 if multiprocessing.parent_process() is not None else []
    return nn.Sequential(nn.Flatten(), *extra, nn.Linear(3 * IMAGE_SIZE * IMAGE_SIZE, 5))


def presses_ctrl_c() -> nn.Module:
    os.lseek(_presses, 0, os.SEEK_SET)
    return PressesCtrlC()


class BreaksBackward(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return breaking(self.layers(x))


def leaves() -> nn.Module:
    sys.exit(0)


def two_lines() -> nn.Module:
    raise ValueError("no such file\nand more")


ONE = Plain()


def always_the_same() -> nn.Module:
    return ONE


def not_a_module() -> int:
    return 3
