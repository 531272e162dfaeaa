"""The form in which a model runs: which of its layers are cut inside, and in which precision.

Text becomes a form where it comes in, from a command line, an argument or a file, and is refused there if it says
none. In a file, and on a screen, a slicing stands as it is written, ``classifier.1=4,features.2=1024+3072``: layers in
so many even blocks of output features, or in blocks of so many each; nothing for a model whose layers are whole. Under
``bf16`` each layer runs as torch's autocast of the whole model runs it: it casts inputs and weights of matrix products
and convolutions, and leaves the rest in the type that it comes in.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from profiler.commands import without
from profiler.errors import ConfigError

Precision = Literal["fp32", "bf16"]
PrecisionName = Literal["fp32", "bf16", "auto"]
FP32: Literal["fp32"] = "fp32"
BF16: Literal["bf16"] = "bf16"
AUTO: Literal["auto"] = "auto"
"""Asks for whatever is measured to be the fastest; no precision itself, and no slicing."""
NONE = "none"
Pieces = tuple[int, ...]
"""How a layer is cut: into so many even blocks, where it is one number; else the features of each block."""
_NUMBER = re.compile(r"[0-9]{1,9}")


Slicing = str
"""Which layers are cut into blocks of output features, and how: ``classifier.1=1024+3072,classifier.4=2``; or none."""


@lru_cache(maxsize=1024)
def pieces_of(slicing: Slicing) -> Mapping[str, Pieces]:
    """Return how each layer is cut, in the order in which they are written."""
    cut: dict[str, Pieces] = {}
    for part in slicing.split(",") if slicing else []:
        layer, _, numbers = part.strip().rpartition("=")
        pieces = numbers.split("+")
        if layer in cut:
            raise ConfigError(f"the slicing '{slicing}' names {layer} twice; leave one out")
        if not layer or not all(map(_NUMBER.fullmatch, pieces)):
            raise ConfigError(
                f"'{part}' in the slicing '{slicing}' is no layer with its blocks; write classifier.1=4, say, or "
                "classifier.1=1024+3072 for the features of each"
            )
        cut[layer] = tuple(map(int, pieces))
        if cut[layer] < (2,) if len(pieces) == 1 else min(cut[layer]) < 1:
            raise ConfigError(f"{layer} cannot be cut into {numbers} blocks; name 2 or more, or leave it out")
    return MappingProxyType(cut)


def slicing_of(cut: Mapping[str, Pieces]) -> Slicing:
    """Return the slicing that cuts each of these layers as it says."""
    return ",".join(f"{layer}={'+'.join(map(str, pieces))}" for layer, pieces in cut.items())


@dataclass(frozen=True, slots=True)
class Form:
    """What a model runs as; without arguments, as it is: layers whole, in float32."""

    slicing: Slicing = ""
    precision: Precision = FP32

    @property
    def lowered(self) -> bool:
        """Whether layers run under autocast."""
        return self.precision == BF16

    @property
    def words(self) -> str:
        """What is not as the model is: ``bf16, classifier.1=4``; nothing where all is."""
        return ", ".join(filter(None, (BF16 if self.lowered else "", self.slicing)))


PLAIN_FORM, BF16_FORM = Form(), Form(precision=BF16)


def slicing_named(text: str) -> Slicing:
    """Return the slicing that a text asks for: ``auto``, ``none``, or layers with their blocks."""
    if not text:
        raise ConfigError("the slicing is empty; write auto, none, or classifier.1=4, say")
    slicing = "" if text == NONE else text
    if slicing != AUTO:
        pieces_of(slicing)  # or it is refused
    return slicing


def form_named(slicing: str, precision: PrecisionName) -> Form:
    """Return the form that is asked for by name; of what is ``auto``, layers whole, in float32."""
    named = slicing_named(slicing)
    return Form("" if named == AUTO else named, BF16 if precision == BF16 else FP32)


def typed_for(typed: tuple[str, ...], form: Form) -> tuple[str, ...]:
    """Return options of a command line that name a model, so that they name a form of it; none of no command line."""
    words = without(typed, "--slice", "--precision")
    if not words:
        return ()
    words += ["--precision", BF16] if form.lowered else []
    return tuple(words + (["--slice", form.slicing] if form.slicing else []))
