"""The form in which a model runs: which of its layers are cut inside, and which run in bfloat16.

Text becomes a form where it comes in, from a command line, an argument or a file, and is refused there if it says
none. In a file, and on a screen, either part stands as it is written:

- a slicing ``classifier.1=4,features.2=1024+3072``: layers in so many even blocks of output features, or in blocks of
  so many each; nothing for a model whose layers are whole;
- a precision ``fp32``, ``bf16``, or ``bf16 except classifier.1,classifier.4``, whose layers take their inputs in
  float32 and run without autocast. Under ``bf16`` each layer runs as torch's autocast of the whole model runs it: it
  casts inputs and weights of matrix products and convolutions, and leaves the rest in the type that it comes in.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self

from profiler.errors import ConfigError, suggest

PrecisionName = Literal["fp32", "bf16", "auto"]
FP32: Literal["fp32"] = "fp32"
BF16: Literal["bf16"] = "bf16"
AUTO: Literal["auto"] = "auto"
"""Asks for whatever is measured to be the fastest; no precision itself."""
Pieces = tuple[int, ...]
"""How a layer is cut: into so many even blocks, where it is one number; else the features of each block."""
_EXCEPT = f"{BF16} except "
_NUMBER = re.compile(r"[0-9]{1,9}")


@lru_cache(maxsize=1024)
def _pieces(text: str) -> Mapping[str, Pieces]:
    cut: dict[str, Pieces] = {}
    for part in text.split(",") if text else []:
        layer, _, numbers = part.strip().rpartition("=")
        pieces = numbers.split("+")
        if layer in cut:
            raise ConfigError(f"the slicing '{text}' names {layer} twice; leave one out")
        if not layer or not all(map(_NUMBER.fullmatch, pieces)):
            raise ConfigError(
                f"'{part}' in the slicing '{text}' is no layer with its blocks; write classifier.1=4, say, or "
                "classifier.1=1024+3072 for the features of each"
            )
        cut[layer] = tuple(map(int, pieces))
        if cut[layer] < (2,) if len(pieces) == 1 else min(cut[layer]) < 1:
            raise ConfigError(f"{layer} cannot be cut into {numbers} blocks; name 2 or more, or leave it out")
    return cut


def _exceptions(text: str) -> list[str]:
    return text.removeprefix(_EXCEPT).split(",")


class Slicing(str):
    """Which layers are cut into blocks of output features, and how; false where all are whole."""

    __slots__ = ()

    def __new__(cls, text: str = "") -> Self:
        """Take a slicing as it is written: ``classifier.1=1024+3072,classifier.4=512+512``; empty where none is cut."""
        _pieces(text)
        return super().__new__(cls, text)

    @classmethod
    def of(cls, cut: Mapping[str, Pieces]) -> Self:
        """Return the slicing that cuts each of these layers as it says."""
        return cls(",".join(f"{layer}={'+'.join(map(str, pieces))}" for layer, pieces in cut.items()))

    @property
    def pieces(self) -> dict[str, Pieces]:
        """How each layer is cut, in the order in which they are written."""
        return dict(_pieces(self))


class Precision(str):
    """Which layers run under torch's autocast in bfloat16."""

    __slots__ = ()

    def __new__(cls, text: str = FP32) -> Self:
        """Take a precision as it is written."""
        if text not in {FP32, BF16} and not (text.startswith(_EXCEPT) and all(_exceptions(text))):
            raise ConfigError(f"'{text}' is no precision; write {FP32}, {BF16}, or {_EXCEPT}classifier.1, say")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, layers: Iterable[str], in_float32: Iterable[str]) -> Self:
        """Return the precision in which some of the layers stay in float32, and the others run in bfloat16."""
        kept, names = set(in_float32), list(layers)
        if not kept:
            return cls(BF16)
        stay = [name for name in names if name in kept]
        return cls(FP32 if len(stay) == len(names) else _EXCEPT + ",".join(stay))

    @property
    def lowered(self) -> bool:
        """Whether any layer runs under autocast."""
        return self != FP32

    @property
    def in_float32(self) -> frozenset[str]:
        """The layers that stay in float32 beside others under autocast."""
        return frozenset(_exceptions(self) if self.startswith(_EXCEPT) else ())

    @property
    def words(self) -> str:
        """The precision in words, its exceptions counted."""
        stay = self.in_float32
        return f"{BF16} but for {len(stay)} in {FP32}" if stay else str(self)


_WHOLE, _FLOAT32 = Slicing(), Precision()


@dataclass(frozen=True, slots=True)
class Form:
    """What a model runs as; without arguments, as it is: layers whole, in float32."""

    slicing: Slicing = _WHOLE
    precision: Precision = _FLOAT32


PLAIN_FORM, BF16_FORM = Form(), Form(precision=Precision(BF16))


def lengths_of(layer: str, pieces: Pieces, layers: Mapping[str, tuple[int, str]]) -> Pieces:
    """Return how many features each block has; of even ones, the first have one more where it does not go up.

    Args:
        layer: Its name.
        pieces: How it is to be cut.
        layers: For each layer its output features, and why it cannot be cut; nothing where it can.
    """
    if layer not in layers:
        can = [name for name, (_, reason) in layers.items() if not reason]
        raise ConfigError(f"there is no layer '{layer}' to slice{suggest(layer, can or layers)}")
    features, reason = layers[layer]
    if reason or not features:
        reason = reason or "its profile does not say what output features it has"
        raise ConfigError(f"{layer} cannot be sliced: {reason}; leave it out of --slice")
    if len(pieces) > 1:
        if sum(pieces) != features:
            raise ConfigError(f"{layer} has {features} output features, and its blocks {sum(pieces)}; make them equal")
        return pieces
    (count,) = pieces
    if count > features:
        raise ConfigError(f"{layer} has {features} output features and cannot be cut into {count} blocks; name fewer")
    return tuple(features // count + (number < features % count) for number in range(count))
