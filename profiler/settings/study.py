"""Read a configuration file that stands for several comparisons: each of its models at each of its batch sizes.

Beside the keys of a single model's file it has ``models``, a mapping from a model's name to the minibatches of a run,
and ``batch_sizes``; both take the place of ``model``, ``batches`` and ``batch_size``.
"""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from profiler.errors import ConfigError
from profiler.settings.config import Config, Positive, from_entries
from profiler.settings.strict_yaml import Entry, convert, read_mapping

_REPLACED = {"model": "models", "batches": "models", "batch_size": "batch_sizes"}


def load_all(path: Path) -> list[Config]:
    """Return what the file stands for: model after model, each at every batch size, smallest first."""
    entries = read_mapping(path)
    if "models" not in entries:
        return [from_entries(entries, path)]
    models, sizes = entries.pop("models"), entries.pop("batch_sizes", None)
    for key, instead in _REPLACED.items():
        if key in entries:
            raise ConfigError(f"{entries[key].key_place}: '{key}' cannot stand beside 'models'; see '{instead}'")
    if sizes is None:
        raise ConfigError(f"{path}: the key 'batch_sizes' is missing; add a line such as 'batch_sizes: [1, 16]'")
    batches = convert(models, Annotated[dict[str, Positive], Meta(min_length=1)], "models")
    batch_sizes = convert(sizes, Annotated[tuple[Positive, ...], Meta(min_length=1)], "batch_sizes")
    return [
        from_entries(entries | _entries(models, model=model, batches=batches[model], batch_size=size), path)
        for model in batches
        for size in sorted(set(batch_sizes))
    ]


def _entries(place: Entry, **values: object) -> dict[str, Entry]:
    return {key: Entry(value, place.key_place, place.place) for key, value in values.items()}
