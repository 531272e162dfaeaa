"""Refuse before the work what could not be written after it, or would replace a file of another kind."""

import os
import tempfile
from pathlib import Path
from typing import Literal

from profiler.errors import FileError
from profiler.files import KINDS, is_file, json_keys, unwritable

OutputKind = Literal[
    "profile", "plan", "run's result", "comparison", "weights", "checkpoint", "log", "trace",
    "drawing", "page",
]  # fmt: skip
"""What a file of ours holds."""
_BEGINNING_BYTES = 4096


def refuse_unwritable(path: Path, kind: OutputKind | None, option: str) -> None:
    """Refuse a file that cannot be written, or that exists and holds something else; nothing is changed.

    Args:
        path: Where something is going to be written.
        kind: What; None where whatever is there may be replaced.
        option: The option that names it, for the remedy.
    """
    remedy = f"give another place with {option}"
    try:
        if path.is_dir():
            raise unwritable(path, "it is a folder", remedy)
        folder = _existing_folder(path)
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise unwritable(path, f"{folder} is no folder that may be written to", remedy)
        with tempfile.TemporaryFile(dir=folder):  # which has no name
            pass
        held = kind_of(path) if kind and is_file(path) else kind
    except OSError as error:
        raise unwritable(path, error.strerror or str(error), remedy) from error
    if held not in {kind, ""}:
        raise FileError(
            f"{path} exists and holds {_named(held)}, which {_named(kind)} would replace; {remedy}, or delete it"
        )


def kind_of(path: Path) -> str:
    """Return the kind of a file, as ``OutputKind`` calls those of ours; nothing of an empty one."""
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING_BYTES)
    start = beginning.lstrip().lower()
    if not start or beginning.startswith(b"PK\3\4"):
        return _torch_kind(path) if start else ""
    if start.startswith((b"<?xml", b"<svg")):
        return "drawing"
    if start.startswith(b"<!doctype html"):
        return "page"
    if start.startswith(b'{"epoch":'):
        return "log"
    if start.startswith((b"{", b"[")):
        keys = json_keys(path.read_bytes())
        ours = next((kind.name for kind in KINDS.values() if kind.key in keys), "")
        return ours or ("trace" if "traceEvents" in keys else "JSON of another kind")
    return "something else"


def _torch_kind(path: Path) -> str:
    """Return what a file holds that torch, or something else, has written as a zip archive."""
    import torch

    try:
        content = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception:  # noqa: BLE001 - whatever it is, it is none of ours
        return "something else"
    if isinstance(content, dict) and "format_version" in content:
        return "checkpoint"
    flat = isinstance(content, dict) and all(isinstance(value, torch.Tensor) for value in content.values())
    return "weights" if flat else "something else"


def _named(kind: str | None) -> str:
    return str(kind) if kind in {"weights", "something else", "JSON of another kind"} else f"a {kind}"


def _existing_folder(path: Path) -> Path:
    """Return the folder of a file, or the nearest above it that exists."""
    folder = path.resolve().parent
    while not folder.exists():
        folder = folder.parent
    return folder
