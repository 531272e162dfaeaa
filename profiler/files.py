"""Write a file whole or not at all; read one as the type that it should hold, or say what is wrong with it."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from profiler.errors import FileError

T = TypeVar("T")


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` holds either all of it or what it held before.

    Raises:
        FileError: The folder or the file cannot be written.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}; give another place with -o or --out") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def read_bytes(path: Path) -> bytes:
    """Return what ``path`` holds.

    Raises:
        FileError: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; check the path") from error


def to_json(value: Any) -> bytes:
    """Encode a frozen dataclass as indented JSON with a last newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def from_json(content: bytes, kind: type[T], origin: str) -> T:
    """Decode ``content`` as ``kind``; fields that ``kind`` does not know are passed over.

    Raises:
        FileError: It is no JSON, or does not fit ``kind``; the message says where.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise FileError(
            f"{origin} is not a {kind.__name__.lower()} that this version reads: {error}; make it anew"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(f"{origin} is not a {kind.__name__.lower()}: it is no JSON ({error}); make it anew") from error


def read_json(path: Path, kind: type[T]) -> T:
    """Read ``path`` as ``kind``.

    Raises:
        FileError: It cannot be read or does not fit.
    """
    return from_json(read_bytes(path), kind, str(path))


def digest(content: bytes) -> str:
    """Return the sha256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
