"""What each command's main table looks like in 80 columns, of made-up results; as a script, keep them all."""

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from comparisons import comparison
from comparisons import plans as made_up
from places import TESTS
from rich.console import Console
from runs import run_of
from strategies import MACHINE, chain

from optimizer.plan import Plan
from optimizer.planning import OPTIMIZED, Models, Planner, load_schemes, plans_for
from optimizer.report import show_gain, show_partitions, show_plan
from profiler.files import read_json
from profiler.profile import CopyCost, Profile
from profiler.report import show_profile
from runtime.cli.verify import show_verification
from runtime.report import advice, show_comparison
from runtime.results import Digests, PartitionVerification, Verification
from runtime.timeline import show_run

WIDTH = 80
FOLDER = TESTS / "data" / "screens"


def profile() -> Profile:
    """PipeDream's VGG16 on a made-up core."""
    found = read_json(TESTS / "data" / "pipedream-vgg16.json", Profile)
    layers = tuple(replace(layer, name=f"features.{at}") for at, layer in enumerate(found.layers))
    names = dict(zip((layer.name for layer in found.layers), (layer.name for layer in layers), strict=True))
    edges = tuple(
        replace(edge, source=names.get(edge.source, edge.source), target=names[edge.target]) for edge in found.edges
    )
    return replace(
        found, layers=layers, edges=edges, machine=MACHINE,
        copy_cost=CopyCost(latency_s=1e-6, s_per_byte=1e-10),
    )  # fmt: skip


def plans() -> tuple[Planner, dict[str, Plan]]:
    planner = Planner(profile(), 4, 12)
    schemes = load_schemes()
    return planner, plans_for((OPTIMIZED, *schemes), Models(planner), schemes, lambda _said: None)


def optimizer(console: Console) -> None:
    planner, found = plans()
    rivals = {name: found[name] for name in load_schemes()}
    show_plan(found[OPTIMIZED], console, planner.profile, rivals=rivals, cores=2)
    show_gain(found[OPTIMIZED], rivals, planner, console)


def every_planner(console: Console) -> None:
    show_partitions(plans()[1], console)


def compare(console: Console) -> None:
    """Seven splits, of which one failed, and a baseline: as much as one screen has to hold."""
    layers = chain([3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 8, 9])
    names = ("optimized", *load_schemes())
    named = made_up(*names, profile=layers, stages=4)
    speeds: dict[str, tuple[float | None, ...]] = {
        name: (20.0 - at, 20.5 - at, 19.8 - at) for at, name in enumerate(names) if at > 1
    }
    speeds |= {"optimized": (20.0, 20.4, 19.0), names[1]: (19.5, 20.6, None)}
    found = comparison(
        speeds, named=named, profile=layers, num_stages=4, cores=(0, 1, 2, 3),
        plain=(5.0, 6.0, 5.5),
    )  # fmt: skip
    then = (
        "Details: results/report.html",
        advice(found, "python -m runtime train --plan results/fastest-plan.json --data YOUR.MODULE:LOADER"),
    )
    show_comparison(found, console, then)


def verify(console: Console) -> None:
    digests = Digests(losses="0" * 64, weights="0123456789abcdef" * 4, buffers="0" * 64)
    whole = PartitionVerification(
        name="optimized", cuts=("a",), identical=True, first_difference=None, digests=digests, replay_digests=digests
    )
    odd = replace(whole, name="front-heavy", identical=False, first_difference="the loss of minibatch 3")
    show_verification(
        Verification(
            model="vgg16", batch_size=4, input_shape=(4, 3, 64, 64), minibatches=8, num_stages=4, schedule="1f1b",
            update_every=1, channel="shm", seed=0, partitions=(whole, odd),
        ),
        console,
    )  # fmt: skip


SCREENS: dict[str, Callable[[Console], None]] = {
    "profile": lambda console: show_profile(profile(), console),
    "optimizer": optimizer,
    "optimizer-all": every_planner,
    "compare": compare,
    "run": lambda console: show_run(run_of("1f1b", 12, [1.0, 1.2, 1.0, 1.0]), console),
    "verify": verify,
}


def screen(name: str, width: int = WIDTH) -> str:
    """What a table looks like."""
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    SCREENS[name](console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in SCREENS:
        (FOLDER / f"{each}.txt").write_text(screen(each), encoding="utf-8")
