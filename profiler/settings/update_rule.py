"""The update rule as data: which one, and its numbers. What it computes is in ``profiler.execution.weight_update``."""

from dataclasses import dataclass
from typing import Any, Literal

RuleName = Literal["sgd", "adam", "adamw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRule:
    """SGD with momentum (Nesterov's if wanted), Adam, or AdamW, with the meanings of torch.optim.

    Attributes:
        lr: Learning rate η.
        momentum: μ of SGD; Adam has ``betas`` instead.
        weight_decay: λ; a penalty in the gradient for SGD and Adam, decoupled for AdamW.
        nesterov: Whether SGD looks ahead along its momentum.
        betas: Decay of Adam's two moments.
        eps: Added to Adam's denominator.
    """

    name: RuleName = "sgd"
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
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
        """The rule in words, as far as its cost depends on it: the numbers themselves cost nothing."""
        parts = {"momentum": self.name == "sgd" and self.momentum, "Nesterov": self.nesterov}
        parts["weight decay"] = self.weight_decay
        chosen = [word for word, present in parts.items() if present]
        return f"{self.name} with {' and '.join(chosen)}" if chosen else self.name
