"""Forwards that a record can get wrong: each computes something that depends on more than the calls it makes."""

import copy
import itertools
import math
import random
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

WIDTH, CLASSES = 6, 3
scale_now = 1.0


class Base(nn.Module):
    """Two linear layers; forwards put more between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.h = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def ends(self, x: Tensor) -> Tensor:
        y: Tensor = self.h(torch.relu(x))
        return y


class KeywordOnly(Base):
    def forward(self, x: Tensor, *, mask: Tensor | None = None, scale: float = 2.0) -> Tensor:
        return self.ends(self.a(x) * scale if mask is None else x)


class MoreArguments(Base):
    def forward(self, x: Tensor, *rest: Tensor, **named: Any) -> Tensor:
        x = self.a(x)
        return self.ends(-x if rest or named else x)


class ExactType(Base):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.ends(x * 2 if type(x) is Tensor else x)


class ShapeArithmetic(Base):
    def forward(self, x: Tensor) -> Tensor:
        samples, width = x.shape
        x = self.a(x).view(samples, width // 2, 2).sum(2).repeat(1, 2)
        return self.ends(x / math.sqrt(x.shape[1]))


class ShapeBranch(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.a(x) * 2 if x.shape[0] > 1 else self.a(x))


class CounterInAList(Base):
    def __init__(self) -> None:
        super().__init__()
        self.steps = [0]

    def forward(self, x: Tensor) -> Tensor:
        self.steps[0] += 1
        return self.ends(self.a(x) * (2 if self.steps[0] > 100 else 1))


class GlobalNumber(Base):
    def forward(self, x: Tensor) -> Tensor:
        global scale_now  # noqa: PLW0603 - as users do it
        scale_now *= 0.5
        return self.ends(self.a(x) * scale_now)


class Memory(Base):
    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = x if self.last is None else x + self.last.mean()
        self.last = x.detach()
        return self.ends(y)


class PlainTensorInPlace(Base):
    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return self.ends(self.a(x) * self.seen)


class BufferValue(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("on", torch.tensor(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.a(x) * 2 if self.on else self.a(x))


class PythonsRandom(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.a(x) * 2 if random.random() < 1e-9 else self.a(x))  # noqa: S311


class ValueInTry(Base):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        try:
            positive = bool(x.sum() > 0)
        except Exception:  # noqa: BLE001 - as users do it
            positive = True
        return self.ends(x if positive else x * 2)


class Detached(Base):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.ends(x + x.detach())


def double_output(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output * 2


def double_gradient(_module: nn.Module, gradients: tuple[Tensor, ...], _outputs: Any) -> tuple[Tensor, ...]:
    return tuple(gradient * 2 for gradient in gradients)


def halve(gradient: Tensor) -> Tensor:
    return gradient / 2


class TensorCounter(Base):
    def __init__(self) -> None:
        super().__init__()
        self.steps = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return self.ends(self.a(x) * (2 if self.steps.item() > 100 else 1))


class ArrayCounter(Base):
    def __init__(self) -> None:
        super().__init__()
        self.steps = np.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.steps[0] += 1
        return self.ends(self.a(x) * (2 if self.steps[0] > 100 else 1))


class IteratorCounter(Base):
    def __init__(self) -> None:
        super().__init__()
        self.counter = itertools.count()

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.a(x) * (2 if next(self.counter) > 100 else 1))


class MovingAverage(Base):
    """Keeps an average of weights, which stands still while both are the same."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = copy.deepcopy(self.a).requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            for kept, learned in zip(self.kept.parameters(), self.a.parameters(), strict=True):
                kept.mul_(0.5).add_(learned, alpha=0.5)
        return self.ends(self.a(x) - 0.3 * self.kept(x))


class WeightClamp(Base):
    def forward(self, x: Tensor) -> Tensor:
        for parameter in self.parameters():
            parameter.data.clamp_(-0.1, 0.1)
        return self.ends(self.a(x))


class OwnSeed(Base):
    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return self.ends(self.a(x) + torch.rand_like(x))


class IntegersAndComplexes(Base):
    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.arange(WIDTH), requires_grad=False)
        self.phases = nn.Parameter(torch.ones(WIDTH, dtype=torch.complex64), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.a(x) + self.places + self.phases.abs())


class Lazy(Base):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.LazyLinear(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.a(x))


class LateBuffer(Base):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "ones"):
            self.register_buffer("ones", torch.ones(WIDTH))
        y: Tensor = self.ends(self.a(x) + self.ones)
        return y


class Numpy(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.ends(torch.from_numpy(self.a(x).detach().numpy() * 2))


class OwnGenerator(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.a(x) + torch.rand(1, generator=torch.Generator().manual_seed(1)))


class NumpysRandom(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.a(x) * float(np.random.random()))  # noqa: NPY002


class Hidden(Base):
    def __init__(self) -> None:
        super().__init__()
        self.others = [nn.Linear(WIDTH, WIDTH)]

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.others[0](self.a(x)))


class Scripted(Base):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.jit.script(nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.inner(self.a(x)))


class Cache(Base):
    def forward(self, x: Tensor) -> Any:
        return self.ends(self.a(x)), slice(0, 1)


def compiled() -> nn.Module:
    return cast("nn.Module", torch.compile(KeywordOnly()))


class Frozen(Base):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH).eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.norm(self.a(x)))


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.fc(x))


class WithInner(Base):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: Tensor) -> Tensor:
        return self.ends(self.inner(self.a(x)))


def hooked(place: str, register: str, hook: Callable[..., Any]) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        model = WithInner()
        getattr(model.get_submodule(place), register)(hook)
        return model

    return made


hook_on_a_layer = hooked("a", "register_forward_hook", double_output)
hook_on_a_container = hooked("inner", "register_forward_hook", double_output)
hook_on_the_model = hooked("", "register_forward_hook", double_output)
gradient_hook_on_a_container = hooked("inner", "register_full_backward_hook", double_gradient)
gradient_hook_on_a_layer = hooked("h", "register_full_backward_hook", double_gradient)


def gradient_hook_on_a_parameter() -> nn.Module:
    model = WithInner()
    model.a.weight.register_hook(halve)  # type: ignore[no-untyped-call]
    return model


class Named(NamedTuple):
    main: Tensor
    absent: None
    aux: Tensor


class HeadsWithAGap(Base):
    def forward(self, x: Tensor) -> Named:
        x = self.a(x)
        return Named(self.ends(x), None, self.h(x))


KINDS: tuple[Callable[[], nn.Module], ...] = (
    KeywordOnly, MoreArguments, ExactType, ShapeArithmetic, ShapeBranch, CounterInAList, GlobalNumber, Memory,
    PlainTensorInPlace, BufferValue, PythonsRandom, ValueInTry, Detached, HeadsWithAGap, hook_on_a_layer,
    hook_on_a_container, hook_on_the_model, gradient_hook_on_a_container, gradient_hook_on_a_layer,
    gradient_hook_on_a_parameter, TensorCounter, ArrayCounter, IteratorCounter, MovingAverage, WeightClamp, OwnSeed,
    Frozen, IntegersAndComplexes, Lazy, LateBuffer, compiled,
)  # fmt: skip
