"""Mutate files: a grammar of what can go wrong in JSON, in lines of text, and in bytes."""

import copy
import io
import json
from collections.abc import Iterator
from typing import Any

import torch
from hypothesis import strategies as st

ODD: list[Any] = [
    None, True, False, 0, 1, 2, -1, 7, 1 << 31, 1 << 63, 1 << 70, -(1 << 63), 0.5, -0.5, 1e-300, 1e300, -1e300, 1e15,
    "", "x", "input", "\x00", "🙂" * 40, "../../etc/passwd", "1", "NaN", [], {}, [[]], [None], [0, 0], {"": 0},
]  # fmt: skip
"""Values that a field does not expect."""
BYTES = [b"", b"\x00", b"\xff\xfe", b"NaN", b"Infinity", b"-", b"1e999", b'"', b"{", b"]", b"\n"]
FACTORS = (-1, 0, 2, 10, 1000, 1e-9, 1e9, 1e300)
MOST_ITEMS = 20_000
"""How long a list of numbers gets that is blown up; one of what is larger, as much shorter."""
DEEP = 5_000
"""How many brackets deep a nest gets."""


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value inside ``value``, by keys and indices."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*way, key)
        yield from places(inner, (*way, key))


@st.composite
def mutated_values(draw: st.DrawFn, value: Any) -> Any:
    """The value with one to three things in it changed: types, signs, sizes, names, order, or how often they are."""
    changed = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        ways = list(places(changed))
        if not ways:
            break
        # First how deep, then where: else most of what is changed is in the longest list.
        depth = draw(st.sampled_from(sorted({len(way) for way in ways})))
        *outer, key = draw(st.sampled_from([way for way in ways if len(way) == depth]))
        holder = changed
        for step in outer:
            holder = holder[step]
        draw(st.sampled_from(CHANGES))(draw, holder, key)
    return changed


def _replace(draw: st.DrawFn, holder: Any, key: Any) -> None:
    holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))


def _scale(draw: st.DrawFn, holder: Any, key: Any) -> None:
    if isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        factor = draw(st.sampled_from(FACTORS))
        holder[key] = type(holder[key])(holder[key] * factor) if abs(holder[key]) < 1e8 else factor
    else:
        _replace(draw, holder, key)


def _shift(draw: st.DrawFn, holder: Any, key: Any) -> None:
    if isinstance(holder[key], int) and not isinstance(holder[key], bool):
        holder[key] += draw(st.sampled_from((-1, 1)))
    elif isinstance(holder[key], str):
        holder[key] += draw(st.sampled_from(("x", " ", ".block0", "=2")))
    else:
        _scale(draw, holder, key)


def _remove(_draw: st.DrawFn, holder: Any, key: Any) -> None:
    del holder[key]


def _rename(draw: st.DrawFn, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[draw(st.sampled_from(["", "x", *holder]))] = holder.pop(key)
    else:
        _repeat(draw, holder, key)


def _repeat(_draw: st.DrawFn, holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[key] = [holder[key], holder[key]]


def _swap(draw: st.DrawFn, holder: Any, key: Any) -> None:
    others = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    other = draw(st.sampled_from(others))
    holder[key], holder[other] = holder[other], holder[key]


def _blow_up(draw: st.DrawFn, holder: Any, key: Any) -> None:
    inner = holder[key]
    if isinstance(inner, list) and len(inner) < MOST_ITEMS and draw(st.integers(0, 9)) == 0:
        holder[key] = (inner or [0]) * (MOST_ITEMS // max(1, len(repr(inner)) // 8))
    elif isinstance(inner, str) and len(inner) < MOST_ITEMS:
        holder[key] = inner * 1000
    else:
        _scale(draw, holder, key)


CHANGES = (_replace, _scale, _scale, _shift, _shift, _remove, _rename, _repeat, _swap, _blow_up)


@st.composite
def mutated_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes torn, flipped, doubled, or with something put in."""
    at = draw(st.integers(0, max(0, len(content) - 1)))
    end = draw(st.integers(at, min(len(content), at + 64)))
    put = draw(st.sampled_from(BYTES))
    return draw(st.sampled_from([
        content[:at], content[at:], content[:at] + put + content[end:], content[:at] + put + content[at:],
        content + content, b"\xef\xbb\xbf" + content, content[:at] + content[at:end] + content[at:],
        content[:at] + bytes(255 - byte for byte in content[at:end]) + content[end:],
    ]))  # fmt: skip


@st.composite
def mutated_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file that is changed in its values; or in its text; or that is nothing but brackets."""
    kind = draw(st.integers(0, 19))
    if kind < 15:
        return json.dumps(draw(mutated_values(json.loads(content)))).encode()
    if kind < 18:
        return draw(mutated_bytes(content))
    if kind == 18:  # a key that stands twice
        key, value = draw(st.sampled_from(sorted(json.loads(content).items())))
        return content.rstrip()[:-1] + b"," + json.dumps(key).encode() + b":" + json.dumps(value).encode() + b"}"
    return b"[" * DEEP + b"]" * DEEP if draw(st.booleans()) else b'{"a":' * DEEP + b"1" + b"}" * DEEP


@st.composite
def mutated_checkpoint(draw: st.DrawFn, content: bytes) -> bytes:
    """A checkpoint that is changed in its bytes, or in what it holds."""
    if draw(st.booleans()):
        return draw(mutated_bytes(content))
    changed = draw(mutated_values(torch.load(io.BytesIO(content), weights_only=True)))
    file = io.BytesIO()
    torch.save(changed, file)
    return file.getvalue()


@st.composite
def mutated_lines(draw: st.DrawFn, content: bytes) -> bytes:
    """A text that is changed line by line, or in its bytes."""
    if draw(st.integers(0, 4)) == 0:
        return draw(mutated_bytes(content))
    lines = content.decode().splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        words = lines[at].split(" ")
        word = draw(st.integers(0, len(words) - 1))
        odd = draw(st.sampled_from(["", "-1", "1e300", "nan", "inf", "yes", "[]", "{a: b}", "&a [*a]", "x" * 500, "0"]))
        lines[at] = draw(st.sampled_from([
            " ".join([*words[:word], odd, *words[word + 1 :]]), lines[other], lines[at] + "\n" + lines[at], "",
            lines[at].replace("=", f"={odd}", 1), "\t" + lines[at], lines[at].strip(),
            lines[at].rpartition(":")[0] + ": " + odd,
        ]))  # fmt: skip
    return "\n".join(lines).encode()
