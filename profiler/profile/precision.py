"""Precision: which layers run under torch's autocast in bfloat16, and which stay in float32.

A precision is written ``fp32``, ``bf16``, or ``bf16 except classifier.1,classifier.4``, whose layers take their inputs
in float32 and run without autocast. Under ``bf16`` each layer runs as torch's autocast of the whole model runs it: it
casts inputs and weights of matrix products and convolutions, and leaves the rest in the type that it comes in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from profiler.errors import ConfigError

PrecisionName = Literal["fp32", "bf16", "auto"]
FP32: Literal["fp32"] = "fp32"
BF16: Literal["bf16"] = "bf16"
AUTO: Literal["auto"] = "auto"
"""Asks for whatever is measured to be the fastest; no precision itself."""
_EXCEPT = f"{BF16} except "


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """In which form a model runs: which layers are cut into blocks, and which run in bfloat16, both as written."""

    slicing: str = ""
    precision: str = FP32


def float32_layers(precision: str) -> frozenset[str] | None:
    """Return the layers that stay in float32 beside autocast; None where there is no autocast at all.

    Raises:
        ConfigError: It is not written as a precision.
    """
    if precision == FP32:
        return None
    if precision == BF16:
        return frozenset()
    names = precision.removeprefix(_EXCEPT).split(",")
    if not precision.startswith(_EXCEPT) or not all(names):
        raise ConfigError(f"'{precision}' is no precision; write {FP32}, {BF16}, or {_EXCEPT}classifier.1, say")
    return frozenset(names)


def precision_text(layers: Iterable[str], in_float32: Iterable[str]) -> str:
    """Return a precision as it is written.

    Args:
        layers: All of them, in captured order.
        in_float32: Those that stay in float32.
    """
    kept, names = set(in_float32), list(layers)
    if not kept:
        return BF16
    stay = [name for name in names if name in kept]
    return FP32 if len(stay) == len(names) else _EXCEPT + ",".join(stay)


def precision_words(precision: str) -> str:
    """Return a precision in words, its exceptions counted."""
    stay = float32_layers(precision)
    return f"{BF16} but for {len(stay)} in {FP32}" if stay else precision
