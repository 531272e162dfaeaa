"""Write a plan as a program for torch.distributed.pipelining: the modules of each stage, and a script that trains it.

The script is whole: it needs torch and the model, and nothing of this project. It cuts the torch.fx graph of the model
itself, since a cut may lie behind a function, inside a residual block, or have values cross it that are read stages
later, which all go through ``PipelineStage`` once each stage hands on what crosses the cut behind it.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from optimizer.plan import Plan
from profiler.settings import Config

TEMPLATES = Path(__file__).parent / "templates"
MICRO_BATCHES = 8
"""Of one minibatch of the plan each, averaged in one update; no fewer than stages, which the schedule asks for."""
STEPS = 10
WIDTH = 100


def module_names(split: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Return the layers of each stage, with a container's path in the place of all that is in it where it is not cut.

    Args:
        split: The layers of each stage, such as ``layer1.0.conv1``.
    """
    home = {layer: number for number, layers in enumerate(split) for layer in layers}
    stages_of: dict[str, set[int]] = {}
    for layer, number in home.items():
        for path in _around(layer):
            stages_of.setdefault(path, set()).add(number)
    return tuple(
        tuple(dict.fromkeys(next(path for path in _around(layer) if len(stages_of[path]) == 1) for layer in layers))
        for layers in split
    )


def pipelining_script(plan: Plan, config: Config, name: str, *, seed: int, auxiliary_weight: float) -> str:
    """Return a script that trains the plan's model on torch.distributed.pipelining with the plan's split.

    Args:
        plan: Whose split it takes.
        config: The update rule.
        name: What the script will be called.
        seed: Of the initial weights.
        auxiliary_weight: What an auxiliary head's loss counts beside the main one's.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(  # noqa: S701 - the text is a program
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    made.filters["lines"] = _lines
    optimizer, arguments = config.rule.torch_optim
    return made.get_template("torch_pipelining.py.j2").render(
        plan=plan,
        name=name,
        stages=module_names(plan.split),
        own=plan.model.split(":") if ":" in plan.model else None,
        sample=", ".join(map(str, plan.input_shape[1:])),
        classes=plan.classes,
        rule=f"torch.optim.{optimizer}(learning, {', '.join(f'{key}={value}' for key, value in arguments.items())})",
        micro_batches=max(MICRO_BATCHES, plan.num_stages),
        steps=STEPS,
        seed=seed,
        auxiliary=auxiliary_weight,
    )


def _around(layer: str) -> list[str]:
    """Return the paths of what holds a layer, the outermost first, and its own last."""
    parts = layer.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _lines(names: Sequence[str]) -> list[str]:
    """Return the names as lines of a tuple."""
    return textwrap.wrap(" ".join(f'"{name}",' for name in names), WIDTH)
