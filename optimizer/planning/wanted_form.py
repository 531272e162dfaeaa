"""The forms that are asked for, as text says it: which layers to cut inside, and in which precision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from profiler.errors import ConfigError
from profiler.profile import AUTO, FP32, PrecisionName, Slicing

NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRequest:
    """The forms that are wanted.

    Attributes:
        slicing: Which layers to cut inside; ``auto``: those that serve.
        precision: In which precision; ``auto``: float32, and whatever is faster.
        cut_after: Forced cuts of the plan, which are cuts of the form that it comes to have.
    """

    slicing: Slicing | Literal["auto"] = AUTO
    precision: PrecisionName = AUTO
    cut_after: Sequence[Sequence[str]] = ()


def slicing_named(text: str) -> Slicing | Literal["auto"]:
    """Return the slicing that a text asks for: ``auto``, ``none``, or layers with their blocks."""
    if text == AUTO:
        return AUTO
    if not text:
        raise ConfigError("the slicing is empty; write auto, none, or classifier.1=4, say")
    return Slicing("" if text == NONE else text)


def cut_named(text: str) -> tuple[str, ...]:
    """Return the layers directly behind which a cut is forced: ``layer2.0.add``, or ``a,b`` behind several branches."""
    layers = tuple(part.strip() for part in text.split(","))
    if not all(layers):
        raise ConfigError(f"'{text}' is not a list of layers such as layer1.2.relu,layer2.0.conv1")
    return layers


def names_layers(slicing: str) -> bool:
    """Say whether a text that asks for a slicing names layers."""
    return slicing not in {AUTO, NONE}


def form_request(
    slicing: str, precision: PrecisionName, *, cut_after: Sequence[Sequence[str]] = (), plain_only: str = ""
) -> FormRequest:
    """Return the forms that are asked for, as far as they can be had.

    Args:
        slicing: ``auto``, ``none``, or layers with their blocks.
        precision: As it is asked for.
        cut_after: Forced cuts; they name whole layers, unless the slicing names layers, too.
        plain_only: What knows whole layers in float32 only, such as ``--method uniform``; nothing where all else does.
    """
    wanted = slicing_named(slicing)
    if plain_only and names_layers(slicing):
        raise ConfigError(
            f"{plain_only} knows whole layers only, and --slice {slicing} cuts some inside; leave one out"
        )
    if plain_only or (cut_after and wanted == AUTO):
        wanted = Slicing()
    if plain_only and precision == AUTO:
        precision = FP32
    return FormRequest(slicing=wanted, precision=precision, cut_after=cut_after)
