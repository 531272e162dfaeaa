"""Read the YAML files in ``configs/`` strictly: a wrong key or value is named with its file, line and column.

YAML reads ``1e-3`` as a text, ``no`` as false, and keeps the last of duplicate keys; here each is refused.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from msgspec import Meta

from profiler.errors import ConfigError, suggest
from profiler.files import is_file, refuse_other_kind
from profiler.settings.strict_yaml import Entry, configs_folder, convert, read_mapping
from profiler.settings.update_rule import RuleName, UpdateRule

Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
LIVE_SUFFIX = ".stageplan-model"
"""How the name of a file ends that holds a model which was in memory."""
RESERVED = ("schemes", "study", "study-figures", "hand-tuned")
"""Files in ``configs/`` that are no model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration file; the keys of a configuration file.

    Samples are images of ``image_size``, or tensors of ``sample_shape`` where that is given; with a ``vocabulary`` they
    hold whole numbers below it, as token ids, instead of normal floats. ``data`` names a factory of real samples, of
    which the first minibatch is measured on where the model takes several inputs; ``loss`` a function of the model's
    output and the targets, as ``package.module:function`` (cross-entropy without), or ``model``: what it returns.
    ``update_rule``, ``lr``, ``momentum``, ``nesterov`` and ``weight_decay`` set the update rule, with the meanings of
    torch.optim (``momentum`` is SGD's alone); ``clip`` bounds every element of a gradient, ``clip_norm`` the norm of
    all of them. In training, ``lr`` is reached over ``warmup`` updates, and then decays: in ``steps``, by
    ``decay_factor`` every ``decay_updates``, or by a ``cosine`` to 0 over ``decay_updates`` in all. ``batches`` counts
    the minibatches of a run (without, 12 or four updates, and in ``compare`` as many as a few seconds take),
    ``repeats`` the rounds of ``compare``, ``stages`` the stages of a pipeline;
    ``partitions`` are those that ``compare`` runs, in every round if ``full``.
    ``slice`` says which layers may be cut inside: ``auto``, ``none``, or layers with their blocks, such as
    ``classifier.1=4``. ``precision`` is ``fp32``, ``bf16`` (layers run under torch's autocast) or ``auto``: whatever is
    measured to be the fastest. ``cores`` are those to use (all without), ``profiles`` is the folder where profiles are
    kept.

    Two are no keys: ``typed``, the options of a command line that stand for the model and its minibatch, if there was
    one; ``own_rule``, an update rule that was made in Python.
    """

    model: str
    batch_size: Positive = 4
    image_size: Positive = 128
    sample_shape: tuple[Positive, ...] = ()
    vocabulary: Annotated[int, Meta(ge=0, le=1 << 31)] = 0
    classes: Annotated[int, Meta(ge=2)] = 1000
    lr: Annotated[float, Meta(gt=0, le=1000)] = 0.01
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Meta(ge=0, le=1)] = 0.0
    clip: Annotated[float, Meta(ge=0)] = 0.0
    clip_norm: Annotated[float, Meta(ge=0)] = 0.0
    update_rule: RuleName = "sgd"
    warmup: Annotated[int, Meta(ge=0)] = 0
    decay: Literal["none", "steps", "cosine"] = "none"
    decay_updates: Annotated[int, Meta(ge=1)] = 1000
    decay_factor: Annotated[float, Meta(gt=0, le=1)] = 0.1
    loss: str = ""
    data: str = ""
    batches: Positive | None = None
    repeats: Annotated[int, Meta(ge=1, le=1000)] = 3
    stages: Annotated[int, Meta(ge=1)] = 4
    partitions: tuple[str, ...] = ("all",)
    full: bool = False
    slice: str = "auto"
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    cores: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    profiles: str = "profiles"
    typed: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    own_rule: UpdateRule | None = dataclasses.field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What to call the model: of one that is kept in a file, the name that it has there."""
        return Path(self.model).name.removesuffix(LIVE_SUFFIX) if self.model.endswith(LIVE_SUFFIX) else self.model

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one minibatch, ``(N, C, H, W)`` for images."""
        return (self.batch_size, *(self.sample_shape or (3, self.image_size, self.image_size)))

    def minibatches(self, update_every: int = 1) -> int:
        """Return how many minibatches a run has where none are wanted in particular: some whole updates of so many."""
        return self.batches or usual_minibatches(update_every)

    @property
    def rule(self) -> UpdateRule:
        """The update rule that the keys name, or the one that was made in Python."""
        return self.own_rule or UpdateRule(
            name=self.update_rule,
            lr=self.lr,
            momentum=self.momentum if self.update_rule == "sgd" else 0.0,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
            clip=self.clip,
            clip_norm=self.clip_norm,
        )

    @property
    def size_name(self) -> str:
        """The size of a sample in file names: ``128`` for images, ``16x32`` for a sample shape."""
        return "x".join(map(str, self.sample_shape)) or str(self.image_size)


def usual_minibatches(update_every: int) -> int:
    """Return how many minibatches a run has where nothing is said: 12, or four updates of so many."""
    return max(12, 4 * update_every)


def for_model(name: str) -> Config:
    """Return the shipped configuration of model ``name``, or the defaults for a model that has none."""
    path = configs_folder() / f"{name}.yaml"
    own = ":" not in name and "/" not in name and name not in RESERVED and is_file(path)
    return load(path) if own else Config(model=name)


def load(path: Path) -> Config:
    """Read a configuration file."""
    return from_entries(read_mapping(path), path)


def from_entries(entries: Mapping[str, Entry], path: Path) -> Config:
    """Return the configuration that the entries of a file give."""
    hints = get_type_hints(Config, include_extras=True)
    keys = [field.name for field in dataclasses.fields(Config) if field.compare]
    values = {}
    for key, entry in entries.items():
        if key not in keys:
            refuse_other_kind(entries, path, "a configuration")
            raise ConfigError(
                f"{entry.key_place}: unknown key '{key}'{suggest(key, keys)}; known keys: {', '.join(keys)}"
            )
        values[key] = convert(entry, hints[key], key)
    if "model" not in values:
        raise ConfigError(f"{path}: the key 'model' is missing; add a line such as 'model: resnet50'")
    config = Config(**values)
    if config.nesterov and not config.rule.momentum:
        place = entries["nesterov"].place
        raise ConfigError(f"{place}: nesterov looks along SGD's momentum and there is none; leave one of the two out")
    return config


def override(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return ``config`` with the values that the command line gave; None means not given."""
    values = {key: value for key, value in changes.items() if value is not None}
    hints = get_type_hints(Config, include_extras=True)
    for key, value in values.items():
        flag = f"--{key.replace('_', '-')}"
        convert(Entry(value, flag, flag), hints[key], key)
    return dataclasses.replace(config, **values)


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
