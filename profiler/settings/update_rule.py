"""The update rule as data: which one, and its numbers. What it computes is in ``profiler.execution.weight_update``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from profiler.errors import ConfigError
from profiler.python_arguments import BelowOne, Hint, NotNegative, python_face

LearningRate = Callable[[int], float]
"""Returns the learning rate of an update, given how many there have been before it; on nothing else may it depend."""
BOUNDED_NORM = "a bounded norm"
"""What the words of an update rule with ``clip_norm`` say of it."""
RuleName = Literal["sgd", "adam", "adamw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRule:
    """SGD with momentum (Nesterov's if wanted), Adam, or AdamW, with the meanings of torch.optim.

    Attributes:
        momentum: μ of SGD; Adam has ``betas`` instead.
        weight_decay: λ; a penalty in the gradient for SGD and Adam, decoupled for AdamW.
        clip_norm: All gradients together are scaled down to this norm where theirs is larger; 0: as they are.
        clip: Every element of a gradient is brought into [−clip, clip] after that; 0: as it is.
    """

    name: RuleName = "sgd"
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    clip: float = 0.0
    clip_norm: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    @property
    def momenta(self) -> int:
        """The number of tensors that the rule keeps for each parameter."""
        if self.name != "sgd":
            return 2
        return 1 if self.momentum else 0

    @property
    def torch_optim(self) -> tuple[str, dict[str, Any]]:
        """The class of torch.optim that computes the same, and its arguments beside the parameters."""
        common = {"lr": self.lr, "weight_decay": self.weight_decay}
        adam = {"betas": self.betas, "eps": self.eps}
        classes: dict[RuleName, tuple[str, dict[str, Any]]] = {
            "sgd": ("SGD", {"momentum": self.momentum, "nesterov": self.nesterov}),
            "adam": ("Adam", adam),
            "adamw": ("AdamW", adam),
        }
        name, own = classes[self.name]
        return name, common | own

    @property
    def kind(self) -> str:
        """The rule in words, as far as what it keeps and costs depends on it: the numbers themselves cost nothing."""
        parts: dict[str, float] = {"momentum": self.momentum if self.name == "sgd" else 0, "Nesterov": self.nesterov}
        parts |= {"weight decay": self.weight_decay, "clipping": self.clip, BOUNDED_NORM: self.clip_norm}
        chosen = [word for word, present in parts.items() if present]
        return f"{self.name} with {' and '.join(chosen)}" if chosen else self.name


Update = Annotated[UpdateRule, Hint("write update=stageplan.SGD(lr=0.01, momentum=0.9), or stageplan's Adam or AdamW")]
"""The annotation of an argument that takes an update rule."""
DEFAULT_RULE = UpdateRule(lr=0.01, momentum=0.9)
"""The update rule where nothing else is said."""


@python_face
def SGD(  # noqa: N802 - as torch.optim calls it
    lr: NotNegative = 0.01, *, momentum: BelowOne = 0.0, weight_decay: NotNegative = 0.0, nesterov: bool = False,
    clip: NotNegative = 0.0, clip_norm: NotNegative = 0.0,
) -> UpdateRule:  # fmt: skip
    """Return SGD, with the meanings of torch.optim.SGD.

    ``clip`` bounds every element of a gradient, as clip_grad_value_ does; ``clip_norm`` the norm of all gradients, as
    clip_grad_norm_, under synchronous schedules.

    Raises:
        ConfigError: A number is out of bounds.
    """
    if nesterov and not momentum:
        raise ConfigError("nesterov=True looks along SGD's momentum and there is none; add momentum=0.9, say")
    return UpdateRule(
        lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, clip=clip, clip_norm=clip_norm,
    )  # fmt: skip


@python_face
def Adam(  # noqa: N802
    lr: NotNegative = 0.001, *, betas: tuple[BelowOne, BelowOne] = (0.9, 0.999), eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0, clip: NotNegative = 0.0, clip_norm: NotNegative = 0.0,
) -> UpdateRule:  # fmt: skip
    """Return Adam, with the meanings of torch.optim.Adam; the last two as for SGD."""
    return UpdateRule(
        name="adam", lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, clip=clip, clip_norm=clip_norm,
    )  # fmt: skip


@python_face
def AdamW(  # noqa: N802
    lr: NotNegative = 0.001, *, betas: tuple[BelowOne, BelowOne] = (0.9, 0.999), eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.01, clip: NotNegative = 0.0, clip_norm: NotNegative = 0.0,
) -> UpdateRule:  # fmt: skip
    """Return AdamW, with the meanings of torch.optim.AdamW; the last two as for SGD."""
    return UpdateRule(
        name="adamw", lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, clip=clip, clip_norm=clip_norm,
    )  # fmt: skip
