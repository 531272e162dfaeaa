"""The profile: what a model's layers cost on one core of one machine. A frozen dataclass that is a JSON file.

A model with layers cut inside, or in bfloat16, is another runnable model, with a profile of its own. Seconds and bytes
throughout; ``input_shape`` includes the minibatch, ``(N, C, H, W)`` for images.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from profiler.profile.form import FP32, PLAIN_FORM, Form, Precision, Slicing
from profiler.profile.layers import (
    Bytes,
    CopyCost,
    Count,
    Edge,
    Layer,
    Loss,
    Machine,
    Name,
    Seconds,
    Shape,
    parts_s,
)
from profiler.settings import BOUNDED_NORM
from profiler.shown import Shown

FORMAT_VERSION: Literal[19] = 19
LOUD = 0.2
"""From which uncertainty on nothing can be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Shown):
    """What a model's layers cost on one core.

    Attributes:
        slicing: Which layers are cut inside; ``precision``, in which all run.
        vocabulary: Samples are whole numbers below it; 0 for floats.
        loss_name: The user's own loss; nothing for cross-entropy.
        inseparable: Groups of layers that no cut may separate (they share a parameter, or hand over what is no tensor).
        outputs: The layers whose outputs enter the loss, the main head first; the last stage needs them all.
        whole_step_s: The plain step, beside no busy core: model, loss, backward, update.
        core: Where it was measured.
        peak_memory_bytes: Largest resident size of a process in whole steps, above an empty one; None where the kernel
            keeps no peak.
        neighbours: How many other cores trained the same model while all else was timed.
        beside_s: What the plain step takes beside them.
        closure_error: By how much the parts of a step are more than the plain steps before and after it, as a share.
        uncertainty: By how much what the largest stage of a plan takes may differ were the rounds drawn again: half the
            width of its interval, as a share.
        regret: By how much the plan of rounds drawn again may be better than the one from these, as a share.
        typed: The options that name the model and its minibatch on a command line; none for one that was in memory.
    """

    model: Name
    model_digest: str
    slicing: Slicing = PLAIN_FORM.slicing
    precision: Precision = FP32
    batch_size: Annotated[int, Meta(ge=1)]
    input_shape: Shape
    classes: Count
    vocabulary: Count = 0
    loss_name: str = ""
    update_rule: str
    momenta: Count
    machine: Machine
    core: Count
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    inseparable: tuple[Annotated[tuple[str, ...], Meta(min_length=1)], ...]
    outputs: tuple[str, ...] = ()
    loss: Loss
    copy_cost: CopyCost
    input_bytes: Bytes
    peak_memory_bytes: Bytes | None
    whole_step_s: Seconds
    neighbours: Count = 0
    beside_s: Seconds = 0.0
    closure_error: float
    rounds: Count
    uncertainty: float
    regret: float
    foreign_load: float
    measured_at: str
    typed: tuple[str, ...] = ()
    format_version: Literal[19] = FORMAT_VERSION
    table: ClassVar[str] = "profiler.report.table:show_profile"

    @property
    def bounds_norm(self) -> bool:
        """Whether the update rule bounds the norm of all gradients, for which stages wait for each other."""
        return BOUNDED_NORM in self.update_rule

    @property
    def known_to(self) -> str:
        """How well what the largest stage takes is known, in words: ``±3%``; rounds alone never tell more than 1%."""
        return f"±{max(0.01, self.uncertainty):.0%}"

    @property
    def loud(self) -> bool:
        """Whether the machine was so loud that one split cannot be told from another."""
        return self.uncertainty > LOUD

    @property
    def memory_parts(self) -> tuple[int, int, int, int]:
        """The bytes of all parameters, gradients, momentum and saved tensors."""
        learning = sum(layer.learning_bytes for layer in self.layers)
        return (
            sum(layer.parameter_bytes for layer in self.layers),
            learning,
            learning * self.momenta,
            sum(layer.saved_bytes for layer in self.layers),
        )

    @property
    def heap_bytes(self) -> int:
        """What a whole step took beyond its parts; 0 where that is unknown.

        That is what layers need for a moment, holes in the heap, and what kernels keep. A stage's heap holds about as
        much beyond its parts.
        """
        return max(0, (self.peak_memory_bytes or 0) - sum(self.memory_parts))

    @property
    def form(self) -> Form:
        """What of the model runs."""
        return Form(self.slicing, self.precision)

    @property
    def one_core_s(self) -> float:
        """The sum of all parts of a step, the loss among them."""
        return parts_s(self.layers, self.loss)

    @property
    def lone_core_s(self) -> float:
        """The same with updates in place, as one core makes them, while no other core is busy, if that is known."""
        alone_s = [*(layer.alone_s for layer in self.layers), self.loss.alone_s]
        known = [time_s for time_s in alone_s if time_s is not None]
        times = sum(known) / (self.one_core_s or 1.0) if len(known) == len(alone_s) else 1.0
        return times * (self.one_core_s - sum(layer.update_s - layer.update_in_place_s for layer in self.layers))


CLOSURE_LIMIT = 0.05
FOREIGN_LOAD_LIMIT = 0.03
REGRET_LIMIT = 0.02
MOST_ROUNDS = 100
"""More rounds only average over the machine's drift."""


def profile_warnings(profile: Profile) -> list[str]:
    """Return the warnings that a profile deserves, as sentences; none for a good one."""
    warnings = []
    if abs(profile.closure_error) > CLOSURE_LIMIT:
        warnings.append(
            f"Predictions may be off by {abs(profile.closure_error):.0%}: the parts add up to "
            f"{more_or_less(profile.closure_error)} than the whole step, most likely because the plain and the "
            "instrumented step met different conditions, such as a changing clock or other work; profile again on an "
            "idle core; if it stays, the forward does work beside its layers, in plain Python, say."
        )
    if profile.foreign_load > FOREIGN_LOAD_LIMIT:
        warnings.append(
            f"These times are too long by up to {profile.foreign_load:.0%}: the core worked for others in "
            f"{profile.foreign_load:.0%} of the time; end what runs there, or choose another with --cores."
        )
    if profile.loud or profile.regret > REGRET_LIMIT:
        means = f"Another split may be up to {profile.regret:.0%} faster than the best for this profile"
        known = "its rounds do not tell them apart"
        if profile.loud:
            means = "Splits cannot be told apart on so loud a machine, and no other form of the model is tried"
            known = f"what a stage takes is known to {profile.known_to} only"
        more = (
            "run more with a longer --budget" if profile.rounds < MOST_ROUNDS else "end what else runs on this machine"
        )
        warnings.append(f"{means}: after {profile.rounds} rounds, {known}; {more}.")
    return warnings


def more_or_less(share: float) -> str:
    """Return a signed share in words, such as ``2.0% less``."""
    return f"{abs(share):.1%} {'less' if share < 0 else 'more'}"
