"""Views of a profile as tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiler.profile import Layer, Profile, more_or_less, parts_s, profile_warnings
from profiler.report.columns import Column, View, columns, folded, half_width, precise_ms
from profiler.report.rich_table import ResultTable
from profiler.report.text import counted, mib

if TYPE_CHECKING:
    from rich.console import Console

_FIRST_OUT = (
    "GFLOP", "forward ±", "backward ±", "send ms", "momentum MiB", "gradients MiB", "kind", "bf16 ms", "params MiB",
    "output MiB", "update ms",
)  # fmt: skip


SHOWN = 10
"""So many layers fit on a screen with what is said of them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A profile as text: one row a layer, and the totals of all; what is said below, and what columns mean."""

    title: str
    names: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]
    total: tuple[str, ...]
    facts: str
    explained: Mapping[str, str]
    warnings: tuple[str, ...]


def rows(profile: Profile, view: View = "time") -> Rows:
    """Return a row for each layer, as captured, with all columns of a view, the loss, and the totals."""
    chosen = columns(view)
    body = _rows_of(profile.layers, profile, chosen)
    if view == "time":
        body.append(("loss", profile.loss_name or "cross-entropy", *_loss(profile, chosen)))
    return Rows(
        title=_title(profile),
        names=("layer", "kind", *(column.name for column in chosen)),
        layers=tuple(body),
        total=("total", f"{len(profile.layers)} layers", *(column.total(profile) for column in chosen)),
        facts=_FACTS[view](profile),
        explained={column.name: column.explanation for column in chosen if column.explanation},
        warnings=tuple(profile_warnings(profile)),
    )


def costliest(profile: Profile, view: View = "time", top: int = SHOWN) -> Rows:
    """Return rows of the costliest layers only, or modules where layers are many: what one screen has room for."""
    chosen = columns(view)
    modules = folded(profile.layers)
    shown = sorted(modules, key=lambda layer: layer.step_s, reverse=True)[:top]
    share = sum(layer.step_s for layer in shown) / (sum(layer.step_s for layer in modules) or 1.0)
    what = "layers" if len(modules) == len(profile.layers) else f"modules of {len(profile.layers)} layers"
    rest = f" Shown: the top {len(shown)} of {len(modules)} {what}, {share:.0%} of a step; --all lists every layer."
    return Rows(
        title=_title(profile),
        names=("layer", "kind", *(column.name for column in chosen)),
        layers=tuple(_rows_of(shown, profile, chosen)),
        total=(),
        facts=_FACTS[view](profile) + (rest if len(shown) < len(profile.layers) else ""),
        explained={},
        warnings=tuple(profile_warnings(profile)),
    )


def _rows_of(layers: Sequence[Layer], profile: Profile, chosen: Sequence[Column]) -> list[tuple[str, ...]]:
    return [(layer.name, layer.kind, *(column.cell(profile, layer) for column in chosen)) for layer in layers]


def _title(profile: Profile) -> str:
    batch, *sample = profile.input_shape
    form = f", {profile.form.words}" if profile.form.words else ""
    return f"{profile.model}, batch {batch} of {'×'.join(map(str, sample))}{form}, one core of {profile.machine.cpu}"


def show_profile(profile: Profile, console: "Console") -> None:
    """Print the costliest layers of a profile."""
    show(costliest(profile), console)


def show(table_rows: Rows, console: "Console") -> None:
    """Print the rows as a table."""
    table = ResultTable(
        table_rows.title,
        table_rows.names,
        words=table_rows.names[:2],
        first_out=_FIRST_OUT,
        explained=table_rows.explained,
        caption=table_rows.facts if table_rows.total else "",
        total=table_rows.total,
        compact=not table_rows.total,
    )
    for row in table_rows.layers:
        table.add_row(*row)
    console.print(table)
    if not table_rows.total:
        console.print(table_rows.facts)
    for warning in table_rows.warnings:
        console.print(warning)


def _loss(profile: Profile, chosen: Sequence[Column]) -> list[str]:
    loss = profile.loss
    cells = {
        "forward ms": precise_ms(loss.forward_s),
        "forward ±": half_width(loss.forward),
        "backward ms": precise_ms(loss.backward_s),
        "backward ±": half_width(loss.backward),
        "share": f"{(loss.forward_s + loss.backward_s) / parts_s(profile.layers, profile.loss):.1%}",
    }
    return [cells.get(column.name, "") for column in chosen]


def _time_facts(profile: Profile) -> str:
    step_s = profile.whole_step_s
    busy = ""
    if profile.neighbours:
        cores = counted(profile.neighbours, "other core")
        busy = f" ({precise_ms(profile.beside_s)} ms with {cores} busy, as timed here)"
    known = f", the costliest layers known to ±{profile.uncertainty:.0%}" if profile.uncertainty else ""
    return f"One training step: {precise_ms(step_s)} ms{busy}. {counted(profile.rounds, 'round')}{known}."


def _memory_facts(profile: Profile) -> str:
    parts = sum(profile.memory_parts)
    said = f"Parameters, gradients, momentum, saved and the largest transient: {mib(parts, 2)} MiB"
    if not profile.peak_memory_bytes:
        return f"{said}; this kernel keeps no peak to check it with."
    share = parts / profile.peak_memory_bytes - 1
    return (
        f"{said}, {more_or_less(share)} than the {mib(profile.peak_memory_bytes, 2)} MiB that a whole step took; what "
        "that held beyond them, holes in the heap and what kernels keep, is added to each stage."
    )


_FACTS: dict[View, Callable[[Profile], str]] = {
    "time": _time_facts,
    "memory": _memory_facts,
}
