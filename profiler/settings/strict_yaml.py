"""Read a YAML mapping strictly: a wrong value is named with its file, line and column.

YAML reads ``1e-3`` as a text, ``no`` as false, and keeps the last of duplicate keys; here each is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import yaml

from profiler.errors import ConfigError, suggest
from profiler.files import read_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a YAML mapping, and where its key and itself stand, as ``file:line:column``."""

    value: Any
    key_place: str
    place: str


def read_mapping(path: Path) -> dict[str, Entry]:
    """Read a YAML file whose top is a mapping with text keys."""
    text = _text(path)
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path} does not hold 'key: value' lines; see the files in {configs_folder()}")
        entries: dict[str, Entry] = {}
        for key_node, value_node in root.value:
            place = f"{path}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConfigError(f"{place}: a key that is not a text; put it in quotes")
            if key in entries:
                raise ConfigError(f"{place}: the key '{key}' stands twice; keep one of the two")
            mark = value_node.start_mark
            value_place = f"{path}:{mark.line + 1}:{mark.column + 1}"
            _refuse_double_keys(value_node, path)
            entries[key] = Entry(loader.construct_object(value_node, deep=True), place, value_place)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: this is no YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path}: this is no YAML: {' '.join(str(error).split())}") from error
    return entries


def _refuse_double_keys(node: yaml.Node, path: Path) -> None:
    keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    if len(set(map(str, keys))) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        mark = node.start_mark
        raise ConfigError(
            f"{path}:{mark.line + 1}:{mark.column + 1}: the key '{twice}' stands twice; keep one of the two"
        )


def convert(entry: Entry, kind: Any, key: str) -> Any:
    """Return the entry's value as ``kind``."""
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if choices and entry.value not in choices:
        near = suggest(str(entry.value), choices)
        raise ConfigError(f"{entry.place}: {key} cannot be {entry.value!r}{near}; it is one of {', '.join(choices)}")
    try:
        return msgspec.convert(entry.value, type=kind, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{entry.place}: {key} cannot be {entry.value!r}: {error}{_hint(entry.value)}") from error


def _text(path: Path) -> str:
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text in UTF-8; see the files in {configs_folder()}") from error


def _hint(value: Any) -> str:
    if isinstance(value, str):
        if value.isdecimal():
            return f"; write {value}, without quotes"
        try:
            number = float(value)
        except ValueError:
            return ""
        return f"; YAML takes {value} for a text, write {number!r}"
    return "; YAML reads yes, no, on and off as true and false, quote it" if isinstance(value, bool) else ""


def configs_folder() -> Path:
    """Return the folder of the shipped configurations: inside an installed wheel, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"
