"""Build a model from its name: one of torchvision's, or the user's own ``package.module:factory``."""

import copy
import importlib
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from profiler.capture.sendable import refuse_unfit_parameters
from profiler.capture.undo import seed_generators
from profiler.errors import ModelError, one_line, suggest
from profiler.machine import shortage

_MORE_ROOM = "end what else takes memory, or build less"


def build(name: str, classes: int, seed: int) -> nn.Module:
    """Return the model in training mode, its weights drawn from ``seed``.

    Args:
        name: A torchvision classification model such as ``resnet50``, or ``package.module:factory``, where the
            factory is called without arguments.
        classes: Number of classes; the user's own factory sets its own.
        seed: Seed of the initial weights.
    """
    torch.manual_seed(seed)
    try:
        # A factory may hand out one module over and over; training must not go on where the last run ended.
        model = copy.deepcopy(_own(name, seed)) if ":" in name else _torchvision(name, classes)
        return model if model.training else model.train()  # modules that are frozen in eval mode stay so
    except (RuntimeError, MemoryError, TypeError, OverflowError) as error:
        raise shortage(error, f"model '{name}'", _MORE_ROOM) or ModelError(
            f"model '{name}' with {classes} classes cannot be built: {one_line(error)}"
        ) from error


def _torchvision(name: str, classes: int) -> nn.Module:
    import torchvision  # takes a second, and stages have no use for it

    _known(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of another default initialization, which is all the same here
        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    return model


def refuse_unknown(names: Iterable[str]) -> None:
    """Refuse a name that no model goes by, without building any."""
    for name in names:
        if ":" in name:
            find(name)
        else:
            _known(name)


def _known(name: str) -> None:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise ModelError(
            f"there is no model '{name}' in torchvision {torchvision.__version__}{suggest(name, names)}; "
            f"{_remedy(name)}"
        )


def _remedy(name: str) -> str:
    """Return how to name the model that was meant."""
    module, _, factory = name.removesuffix(".py").removeprefix("./").replace("/", ".").rpartition(".")
    if name.endswith(".py"):
        path = f"{module}.{factory}" if module else factory
        return f"a model in that file is named {path}:Net, Net being the class or function that makes it"
    if module:
        return f"your own is named {module}:{factory}, with a colon"
    return "name one of torchvision's classification models, or your own as package.module:factory"


def _own(name: str, seed: int) -> nn.Module:
    """Return the model that the user's factory ``package.module:factory`` makes."""
    model = made(name, seed)
    if not isinstance(model, nn.Module):
        raise ModelError(f"the factory '{name}' returned a {type(model).__name__}; it has to return a torch.nn.Module")
    refuse_unfit_parameters(model)
    return model


def made(name: str, seed: int) -> Any:
    """Return what the user's own factory ``package.module:factory`` makes when it is called without arguments.

    Torch's, Python's and numpy's generators are seeded between the import, which may draw the first time, and the call.
    """
    made_by = find(name)
    seed_generators(seed)
    try:
        return made_by()
    except (Exception, SystemExit) as error:
        raise shortage(error, f"the factory '{name}'", _MORE_ROOM) or ModelError(
            f"the factory '{name}' raised {type(error).__name__}: {one_line(error)}; it has to do its work when called "
            "without arguments"
        ) from error


def find(name: str) -> Callable[..., Any]:
    """Return the user's own factory ``package.module:factory``, which is not called."""
    module_name, _, factory_name = name.partition(":")
    if not factory_name:
        raise ModelError(f"'{name}' names no factory; write package.module:factory")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # behind all else: the folder may have a profiler.py of its own
    try:
        factory: Callable[..., Any] = getattr(importlib.import_module(module_name), factory_name)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"cannot find '{factory_name}' in module '{module_name}': {one_line(error)}; "
            "check the name package.module:factory and the folder you are in"
        ) from error
    return factory
