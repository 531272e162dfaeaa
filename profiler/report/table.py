"""A profile as a table: of each of the costliest layers, what it takes, what it hands on, and what it keeps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiler.profile import Layer, Profile, parts_s, profile_warnings
from profiler.report.fold_layers import folded
from profiler.report.rich_table import ResultTable
from profiler.report.text import counted, mib

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = ("layer", "forward\nms", "backward\nms", "update\nms", "share", "output\nMiB", "saved\nMiB")
SHOWN = 10
"""So many layers fit on a screen with what is said of them."""


def show_profile(profile: Profile, console: "Console", top: int | None = SHOWN) -> None:
    """Print a table of a profile, and below it what else is known and what casts doubt on it.

    Args:
        profile: Of which model.
        console: Where to.
        top: How many layers, the costliest first, or modules where layers are many; None: all layers, as captured.
    """
    modules = folded(profile.layers)
    shown = profile.layers if top is None else sorted(modules, key=lambda layer: layer.step_s, reverse=True)[:top]
    table = ResultTable(
        _title(profile),
        COLUMNS,
        words=COLUMNS[:1],
        total=_total(profile) if top is None else (),
        compact=True,
    )
    whole_s = parts_s(profile.layers, profile.loss)
    for layer in shown:
        times = (precise_ms(time_s) for time_s in (layer.forward_s, layer.backward_s, layer.update_s))
        sizes = (mib(size, 2) for size in (layer.output_bytes, layer.saved_bytes))
        table.add_row(layer.name, *times, f"{layer.step_s / whole_s:.1%}", *sizes)
    if top is None:
        loss = profile.loss
        times = (precise_ms(time_s) for time_s in (loss.forward_s, loss.backward_s))
        table.add_row("loss", *times, "", f"{loss.step_s / whole_s:.1%}")
    console.print(table)
    rest = _rest(profile, shown, modules) if len(shown) < len(profile.layers) else ""
    for line in (f"{_time(profile)}{rest}", _memory(profile), *profile_warnings(profile)):
        console.print(line)


def precise_ms(seconds: float) -> str:
    """Return milliseconds with the digits that mean something."""
    return f"{seconds * 1e3:.3f}" if seconds < 0.01 else f"{seconds * 1e3:.1f}"


def _title(profile: Profile) -> str:
    batch, *sample = profile.input_shape
    form = f", {profile.form.words}" if profile.form.words else ""
    return f"{profile.model}, batch {batch} of {'×'.join(map(str, sample))}{form}, one core of {profile.machine.cpu}"


def _total(profile: Profile) -> tuple[str, ...]:
    layers, loss = profile.layers, profile.loss
    forward_s = sum(layer.forward_s for layer in layers) + loss.forward_s
    backward_s = sum(layer.backward_s for layer in layers) + loss.backward_s
    update_s = sum(layer.update_s for layer in layers)
    sizes = (sum(layer.output_bytes for layer in layers), sum(layer.saved_bytes for layer in layers))
    return (
        counted(len(layers), "layer"), precise_ms(forward_s), precise_ms(backward_s), precise_ms(update_s), "100.0%",
        *(mib(size, 2) for size in sizes),
    )  # fmt: skip


def _rest(profile: Profile, shown: Sequence[Layer], modules: Sequence[Layer]) -> str:
    """Say how much of a step is shown."""
    share = sum(layer.step_s for layer in shown) / (sum(layer.step_s for layer in modules) or 1.0)
    what = "layers" if len(modules) == len(profile.layers) else f"modules of {len(profile.layers)} layers"
    return f" Shown: the top {len(shown)} of {len(modules)} {what}, {share:.0%} of a step; --all lists every layer."


def _time(profile: Profile) -> str:
    busy = ""
    if profile.neighbours:
        cores = counted(profile.neighbours, "other core")
        busy = f" ({precise_ms(profile.beside_s)} ms with {cores} busy, as timed here)"
    known = f", what a stage takes known to {profile.known_to}" if profile.uncertainty else ""
    step = precise_ms(profile.whole_step_s)
    return f"One training step: {step} ms{busy}. {counted(profile.rounds, 'round')}{known}."


def _memory(profile: Profile) -> str:
    said = f"Parameters, gradients, momentum and saved: {mib(sum(profile.memory_parts), 2)} MiB"
    if not profile.peak_memory_bytes:
        return f"{said}; this kernel keeps no peak of a whole step."
    return f"{said}; a whole step took {mib(profile.peak_memory_bytes, 2)} MiB at most."
