"""Write a file whole or not at all; read one as the type that it should hold, or say what is wrong with it."""

import contextlib
import dataclasses
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from profiler.commands import command
from profiler.errors import FileError

MOST_BYTES = 256 << 20
"""So large a file that is text may be."""
_CHECKSUM = "sha256"
_CONTROL_SIGN = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]"
    rb"|(?<!\\)(?:\\\\)*\\(?:[bfr]|u00(?:0[0-8b-fB-F]|1[0-9a-fA-F]|7[fF]|[89][0-9a-fA-F]))"
)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file: a frozen dataclass as JSON.

    Attributes:
        name: What it is called.
        key: A key that it alone has.
        maker: The command that makes one.
        option: What names it to the commands that read one.
    """

    name: str
    key: str
    maker: str
    option: str = ""


KINDS = {
    "Profile": Kind("profile", "whole_step_s", "profile", "--profile"),
    "Plan": Kind("plan", "lower_bound_s", "plan", "--plan"),
    "RunResult": Kind("run's result", "losses", "run"),
    "Comparison": Kind("comparison", "left_out", "compare"),
    "Verification": Kind("verification", "seed", "verify"),
}
"""The kinds of files, by the name of their class."""


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], None], option: str = "") -> None:
    """Write ``content`` so that ``path`` holds either all of it or what it held before.

    Of several writers at once the last counts. A pipe or a device is written to as it is; a link stays one, and what
    it points to is written.

    Args:
        path: Where.
        content: What; or what writes it to the open file.
        option: The option that names the place, if one does, for the remedy.
    """
    try:
        path = path.resolve()
        if path.exists() and not (path.is_file() or path.is_dir()):
            with path.open("wb") as device:
                _fill(device, content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.writing")
        with temporary.open("xb") as file:
            try:
                _fill(file, content)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        remedy = f"give another place with {option}" if option else "give another place"
        raise unwritable(path, error.strerror or str(error), remedy) from error


def _fill(file: BinaryIO, content: bytes | Callable[[BinaryIO], None]) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        content(file)


def is_file(path: Path) -> bool:
    """Say whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def unwritable(path: Path, reason: str, remedy: str) -> FileError:
    """Return the error that says that ``path`` cannot be written, and why."""
    return FileError(f"cannot write {path}: {reason}; {remedy}")


def read_bytes(path: Path) -> bytes:
    """Return what ``path`` holds."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; check the path") from error
    if len(content) > MOST_BYTES:
        raise FileError(f"{path} is larger than {MOST_BYTES >> 20} MiB, which none of our files is; check the path")
    return content


def refuse_control_signs(content: bytes, origin: str, remedy: str) -> None:
    """Refuse text with signs that steer a terminal, plain or escaped, for names are printed as they are."""
    if _CONTROL_SIGN.search(content):
        raise FileError(f"{origin} holds a sign that steers a terminal, which no name has; {remedy}")


def to_json(value: Any) -> bytes:
    """Encode frozen dataclasses as indented JSON with a last newline; those that work figures out, with these.

    What could be a file of its own says the checksum of the rest of it.
    """
    return msgspec.json.format(msgspec.json.encode(_summed(value)), indent=1) + b"\n"


def _summed(value: Any) -> Any:
    """Return what is to be encoded, with checksums."""
    if isinstance(value, list):
        return [_summed(each) for each in value]
    if isinstance(value, dict):
        return {name: _summed(held) for name, held in value.items()}
    if type(value).__name__ not in KINDS:
        return value
    keys = json_keys(msgspec.json.encode(_with_figures(value)))
    return keys | {_CHECKSUM: _checksum(keys)}


def _checksum(keys: dict[str, Any]) -> str:
    """Return the checksum of what a file of ours holds, however it is spaced."""
    return digest(msgspec.json.encode({name: held for name, held in keys.items() if name != _CHECKSUM}))


def values_of(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as they are."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _with_figures(value: Any) -> Any:
    return value.as_file() if hasattr(value, "as_file") else value


def from_json(content: bytes, kind: type[T], origin: str) -> T:
    """Decode ``content`` as ``kind``; figures that were worked out for readers are passed over."""
    about = KINDS[kind.__name__]
    name, anew = about.name, command(about.maker)
    try:
        value = msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        keys = json_keys(content)
        other = next((each.name for each in KINDS.values() if each.key in keys and about.key not in keys), "")
        if other:
            raise FileError(f"{origin} is a {other}, where a {name} is wanted; make one with {anew}") from error
        version = next(field.default for field in dataclasses.fields(kind) if field.name == "format_version")  # type: ignore[arg-type]
        if about.key in keys and keys.get("format_version") != version:
            raise FileError(
                f"{origin} is a {name} of format {keys.get('format_version')}, and this version reads format "
                f"{version}; make it anew with {anew}"
            ) from error
        raise FileError(f"{origin} is not a {name}: {error}; make it anew with {anew}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(f"{origin} is not a {name}: it is no JSON ({error}); make it anew with {anew}") from error
    refuse_control_signs(content, origin, f"make it anew with {anew}")
    keys = json_keys(content)
    if keys.get(_CHECKSUM) != _checksum(keys):
        why = "was changed after it was written" if _CHECKSUM in keys else f"lacks the {_CHECKSUM} of its content"
        raise FileError(f"{origin} {why}; make it anew with {anew}")
    return value


def json_keys(content: bytes) -> dict[str, Any]:
    """Return the keys of a JSON file; none where it has no such."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        if isinstance(top := msgspec.json.decode(content), dict):
            return top
    return {}


def read_json(path: Path, kind: type[T]) -> T:
    """Read ``path`` as ``kind``."""
    return from_json(read_bytes(path), kind, str(path))


def read_kind(path: Path, kinds: Sequence[type[Any]]) -> Any:
    """Read ``path`` as that one of ``kinds`` which it is."""
    content = read_bytes(path)
    keys = json_keys(content)
    for kind in kinds:
        if KINDS[kind.__name__].key in keys:
            return from_json(content, kind, str(path))
    names = [KINDS[kind.__name__].name for kind in kinds]
    raise FileError(f"{path} is none of these: {', '.join(names)}; name one of them")


def refuse_other_kind(keys: Collection[str], path: Path, wanted: str) -> None:
    """Refuse the keys of one of our own files where something else is ``wanted``."""
    for kind in KINDS.values():
        if kind.key in keys and "format_version" in keys:
            remedy = f"use {kind.option}" if kind.option else "name another file"
            raise FileError(f"{path} is a {kind.name}, not {wanted}; {remedy}")


def digest(content: bytes) -> str:
    """Return the sha256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
