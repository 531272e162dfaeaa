"""Check the arguments of what users call from Python by its annotations, before anything is started.

A signature says it all: ``Annotated[int, Meta(ge=1)]`` has bounds, ``Literal`` lists names, ``Sequence[int]`` is any
list of whole numbers, and a ``Hint`` says what to write instead. A number of numpy's becomes one of Python's.
"""

import inspect
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, wraps
from numbers import Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from profiler.errors import ConfigError, StageplanError

P = ParamSpec("P")
T = TypeVar("T")

AboveZero = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
BelowOne = Annotated[float, Meta(ge=0, lt=1)]
Count = Annotated[int, Meta(ge=1)]
_UNSAID = re.compile(r"(?:\w+\.)+(?=\w)|(?<=None)Type")
_PLAIN_WORDS = {
    "int": "a whole number", "float": "a number", "str": "a text", "bool": "True or False", "array": "a list",
}  # fmt: skip
_PLAIN, _FINITE = (int, float, str, bool), "a finite number"
_SHORT = reprlib.Repr()
_SHORT.maxother = 80


@dataclass(frozen=True, slots=True)
class Hint:
    """Stands in an annotation: what to write in the place of a value that does not fit, and the error to raise."""

    remedy: str = "give such a value"
    error: type[StageplanError] = ConfigError


Cores = Annotated[Sequence[Annotated[int, Meta(ge=0)]], Hint("write cores=[0, 1], say")]


def python_face(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function that users call refuse arguments that its annotations do not allow."""
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # which says it better
        for name, kind in _kinds(function).items():
            if name in bound.arguments:
                bound.arguments[name] = fitting(name, bound.arguments[name], kind)
        return function(*bound.args, **bound.kwargs)

    show_plainly(call)
    return call


def show_plainly(function: Callable[..., Any]) -> None:
    """Let ``help`` show a function's signature with plain names of types, without what stands beside them."""
    signature, kinds = inspect.signature(function), get_type_hints(function)
    shown = {name: _PlainName(_UNSAID.sub("", inspect.formatannotation(kind))) for name, kind in kinds.items()}
    empty = inspect.Parameter.empty
    parameters = [own.replace(annotation=shown.get(own.name, empty)) for own in signature.parameters.values()]
    plain = signature.replace(parameters=parameters, return_annotation=shown.get("return", empty))
    function.__signature__ = plain  # type: ignore[attr-defined]


class _PlainName(str):
    """The name of a type, which a signature shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def refuse_odd_fields(record: Any) -> None:
    """Refuse a dataclass with a value that its field's annotation does not allow."""
    for name, kind in _kinds(record.__class__).items():
        fitting(name, getattr(record, name), kind)


def fitting(name: str, value: Any, kind: Any) -> Any:
    """Return the value of the argument ``name`` as its annotation ``kind`` has it."""
    try:
        return _converted(value, kind)
    except ValueError as error:
        hint = next(_hints(kind), Hint())
        shown = " ".join(_SHORT.repr(value).split())
        raise hint.error(f"{name} cannot be {shown}: it has to be {error}; {hint.remedy}") from None


def _hints(kind: Any) -> Iterator[Hint]:
    """Yield the hints that stand in an annotation."""
    yield from (each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Hint))
    for option in get_args(kind):
        yield from _hints(option)


@cache
def _kinds(thing: Any) -> dict[str, Any]:
    return get_type_hints(thing, include_extras=True)


def _converted(value: Any, kind: Any) -> Any:
    """Return ``value`` as ``kind``; where it is none, raise a ValueError with what it has to be, in words."""
    bare = kind.__origin__ if get_origin(kind) is Annotated else kind
    origin, inner = get_origin(bare), get_args(bare)
    if origin in (Union, UnionType):
        return _first(value, inner)
    if origin in (Sequence, tuple) and isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict)):
        with suppress(TypeError):  # an array without dimensions
            value = list(value)  # a range, an array
    if bare in _PLAIN or origin in (Sequence, tuple):
        return _by_msgspec(value, kind)
    if origin is Literal:
        fits, words = isinstance(value, str) and value in inner, " or ".join(map(repr, inner))
    elif origin is Callable:
        fits, words = callable(value) and not isinstance(value, type), "a function"
    else:
        own = origin or bare
        fits, words = origin is Iterable or isinstance(value, own), f"of type {own.__name__}"
    if not fits:
        raise ValueError(words)
    return value


def _first(value: Any, kinds: Iterable[Any]) -> Any:
    """Return ``value`` as the first of ``kinds`` that it is; msgspec has no unions of classes."""
    words = []
    for kind in kinds:
        try:
            return _converted(value, kind)
        except ValueError as error:
            words += [] if kind is NoneType else [str(error)]
    raise ValueError(" or ".join(words))


def _by_msgspec(value: Any, kind: Any) -> Any:
    value = [_pythons(item) for item in value] if isinstance(value, list) else _pythons(value)
    try:
        converted = msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(_words(str(error))) from None
    items = converted if isinstance(converted, (list, tuple)) else [converted]
    if any(isinstance(item, float) and not math.isfinite(item) for item in items):
        raise ValueError(_FINITE)
    return converted


def _pythons(value: Any) -> Any:
    """Return the number of Python's that one of numpy's is."""
    return value.item() if isinstance(value, Real) and hasattr(value, "item") else value


def _words(said: str) -> str:
    """Return in words what msgspec says that a value has to be."""
    expected = re.fullmatch(r"Expected (.+?)(?:, got .+?)?( - at .+)?", said)
    if not expected:  # a number is out of range
        return _FINITE
    words = re.sub(r"`(\w+)`", lambda name: _PLAIN_WORDS.get(name[1], name[1]), expected[1])
    return f"a list, each {words}" if expected[2] else words
