"""Check the arguments of what users call from Python by its annotations, before anything is started.

A signature says it all: ``Annotated[int, Meta(ge=1)]`` has bounds, ``Literal`` lists names, ``Sequence[int]`` is any
list of whole numbers, and a ``Hint`` says what to write instead. A number of numpy's becomes one of Python's.
"""

import inspect
import operator
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

from profiler.errors import ConfigError, StageplanError, suggest
from profiler.python_words import worded_for_python

P = ParamSpec("P")
T = TypeVar("T")

AboveZero = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
BelowOne = Annotated[float, Meta(ge=0, lt=1)]
Count = Annotated[int, Meta(ge=1)]
Cores = Sequence[Annotated[int, Meta(ge=0)]]
_UNSAID = re.compile(r"(?:\w+\.)+(?=\w)|(?<=None)Type")
_OURS = ("builtins", "__main__", "profiler", "optimizer", "runtime")
_BOUNDS = {
    "ge": (operator.ge, "of {} or more"), "gt": (operator.gt, "above {}"), "le": (operator.le, "at most {}"),
    "lt": (operator.lt, "below {}"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hint:
    """Stands in an annotation: what to write in the place of a value that does not fit, and the error to raise."""

    remedy: str | Callable[[Any], str]
    error: type[StageplanError] = ConfigError


def python_face(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function that users call refuse arguments that its annotations do not allow, and word errors for Python."""
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with worded_for_python():
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                return function(*args, **kwargs)  # which says it better
            kinds = _kinds(function)
            for name, value in bound.arguments.items():
                if name in kinds:
                    default = signature.parameters[name].default
                    bound.arguments[name] = fitting(name, value, kinds[name], default)
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
    kinds = _kinds(record.__class__)
    for field in fields(record):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        fitting(field.name, getattr(record, field.name), kinds[field.name], default)


def fitting(name: str, value: Any, kind: Any, default: Any = inspect.Parameter.empty) -> Any:
    """Return the value of the argument ``name`` as its annotation ``kind`` has it."""
    try:
        return _converted(value, kind)
    except ValueError:
        hint = next((each for each in _metadata(kind) if isinstance(each, Hint)), Hint(""))
        remedy = _remedy(name, value, kind, default, hint)
        raise hint.error(f"{name} has to be {_words(kind)}, and is {_shown(value)}; {remedy}") from None


@cache
def _kinds(thing: Any) -> dict[str, Any]:
    return get_type_hints(thing, include_extras=True)


def _converted(value: Any, kind: Any) -> Any:
    """Return ``value`` as ``kind``; raise ValueError where it is none."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _first([(value, option) for option in inner])
    if origin is Annotated:
        value = _converted(value, inner[0])
        return _if(all(_within(value, bound) for bound in inner[1:] if isinstance(bound, Meta)), value)
    if origin in (Sequence, tuple):
        items = tuple(_if(isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict)), value))
        kinds = inner if _is_pair(kind) else inner[:1] * len(items)
        return tuple(_converted(*each) for each in zip(_if(len(items) == len(kinds), items), kinds, strict=True))
    if kind in (int, float):
        fits = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        number = kind(value) if fits and not isinstance(value, (int, float)) else value
        return _if(fits and (kind is int or -sys.float_info.max <= number <= sys.float_info.max), number)
    fits = isinstance(value, origin or kind) if isinstance(origin or kind, type) else True
    fits = isinstance(value, str) and value in inner if origin is Literal else fits
    return _if(origin is Iterable or (fits and not (origin is Callable and isinstance(value, type))), value)


def _is_pair(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_args(kind)[-1] is not ...


def _first(choices: Iterable[tuple[Any, Any]]) -> Any:
    """Return the first value that is of the kind beside it."""
    for value, kind in choices:
        try:
            return _converted(value, kind)
        except ValueError:
            continue
    raise ValueError


def _if(fits: bool, value: Any) -> Any:  # noqa: FBT001 - the condition
    if not fits:
        raise ValueError
    return value


def _within(value: Any, bound: Meta) -> bool:
    limits = [(compare, getattr(bound, name)) for name, (compare, _) in _BOUNDS.items()]
    return all(limit is None or compare(value, limit) for compare, limit in limits)


def _metadata(kind: Any) -> Iterator[Any]:
    """Yield what stands in the annotation beside types."""
    if get_origin(kind) is Annotated:
        yield from kind.__metadata__
    if get_origin(kind) in (Annotated, Union, UnionType):
        for option in get_args(kind):
            yield from _metadata(option)


def _words(kind: Any) -> str:
    """Return in words what a value of ``kind`` is."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_words(option) for option in inner if option is not NoneType)
    if origin is Annotated:
        limits = [
            words.format(limit)
            for bound in inner[1:]
            for name, (_, words) in _BOUNDS.items()
            if (limit := getattr(bound, name, None)) is not None
        ]
        return " ".join([_words(inner[0]), " and ".join(limits)]).rstrip()
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if origin in (Sequence, tuple):
        return f"{'a pair' if _is_pair(kind) else 'a list'}, each {_words(inner[0])}"
    plain = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", Callable: "a function"}
    return plain.get(origin or kind) or _with_article(_name(origin or kind))


def _shown(value: Any) -> str:
    """Return a value, or of what type it is, in words."""
    items = value if isinstance(value, (list, tuple)) else [value]
    if all(item is None or isinstance(item, (str, bool, Real)) for item in items):
        return textwrap.shorten(repr(value), 80, placeholder="…")
    if isinstance(value, type):
        return f"the class {_name(value)}"
    name = getattr(value, "__name__", None)
    return f"the function {name}" if isinstance(name, str) and callable(value) else _with_article(_name(type(value)))


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOUaeiou" else f"a {name}"


def _name(kind: type) -> str:
    """Return a class's name as users import it, such as ``torch.nn.Module``."""
    parts = kind.__module__.split(".")
    if parts[0] in _OURS:
        return kind.__qualname__
    homes = [".".join(parts[: count + 1]) for count in range(len(parts))]
    public = [home for home in homes if getattr(sys.modules.get(home), kind.__name__, None) is kind]
    return f"{(public or homes[-1:])[0]}.{kind.__qualname__}"


def _remedy(name: str, value: Any, kind: Any, default: Any, hint: Hint) -> str:
    """Return what to write instead."""
    if isinstance(value, type) and any(_instances_fit(value, option) for option in _options(kind)):
        return f"write {value.__name__}()"
    for option in _options(kind):
        for meant in _meant(value, option):
            return f"write {name}={list(meant) if isinstance(meant, tuple) else meant!r}"
    if hint.remedy:
        return hint.remedy if isinstance(hint.remedy, str) else hint.remedy(value)
    if default is None:
        return f"give such a value, or leave {name} out"
    given = default not in (inspect.Parameter.empty, ())
    return f"write {name}={default!r}, say" if given else "give such a value"


def _options(kind: Any) -> Iterator[Any]:
    """Yield the kinds that an annotation gives a choice of, without what stands beside them."""
    if get_origin(kind) in (Union, UnionType):
        for option in get_args(kind):
            yield from _options(option)
    elif get_origin(kind) is Annotated and not any(isinstance(each, Meta) for each in kind.__metadata__):
        yield from _options(kind.__origin__)
    else:
        yield kind


def _instances_fit(value: type, kind: Any) -> bool:
    if get_origin(kind) is Callable:
        return any("__call__" in vars(base) for base in value.__mro__)
    return isinstance(kind, type) and issubclass(value, kind)


def _meant(value: Any, kind: Any) -> Iterator[Any]:
    """Yield what of ``kind`` was likely meant with a value that is none."""
    if isinstance(value, bool) or value is None:
        return
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]
    guesses: list[Any] = [*map(_number, [value]), parts, [_number(part) for part in parts]]
    if get_origin(kind) is Literal:
        guesses += [name for name in get_args(kind) if suggest(str(value), [name])]
    for guess in guesses:
        try:
            yield _converted(guess, kind)
        except ValueError:
            continue


def _number(value: Any) -> Any:
    """Return the number that a text or a float is, if it is one."""
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        return value
    return int(number) if number.is_integer() else number
