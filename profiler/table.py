"""Views of a profile: one set of rows, shown in the terminal or written as CSV or Markdown."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from profiler.doubts import doubts
from profiler.transfer import copy_s
from profiler.types import Layer, Loss, Profile

if TYPE_CHECKING:
    from rich.console import Console

Order = Literal["order", "time"]

COLUMNS = (
    "layer", "kind", "forward ms", "±", "backward ms", "±", "update ms", "send ms", "share",
    "output MiB", "params MiB", "saved MiB", "GFLOP",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """A profile as text: one row a layer, the loss, and the totals of all layers, shown or not."""

    title: str
    layers: tuple[tuple[str, ...], ...]
    total: tuple[str, ...]
    notes: tuple[str, ...]


def rows(profile: Profile, order: Order = "order", top: int | None = None) -> Rows:
    """Return the rows of a profile.

    Args:
        profile: What to show.
        order: ``order`` as captured, ``time`` costliest first.
        top: Only so many layers.
    """
    shown = sorted(profile.layers, key=step_s, reverse=True) if order == "time" else list(profile.layers)
    total_s = sum(map(step_s, profile.layers)) + profile.loss.forward_s + profile.loss.backward_s
    body = [_row(layer, profile, total_s) for layer in shown[:top]]
    loss = profile.loss
    share = f"{(loss.forward_s + loss.backward_s) / total_s:.1%}"
    body.append(("loss", "cross-entropy", *_times(loss), "", "", share, "", "", "", ""))
    return Rows(
        title=f"{profile.model}, input {'×'.join(map(str, profile.input_shape))}, one core of {profile.machine.cpu}",
        layers=tuple(body),
        total=_total(profile),
        notes=(_explanation(profile), *doubts(profile)),
    )


def show(found: Rows, console: "Console") -> None:
    """Print the rows as a table."""
    from rich import box
    from rich.table import Table

    caption = "\n".join(found.notes)
    table = Table(title=found.title, caption=caption, caption_justify="left", show_footer=True, box=box.SIMPLE)
    for position, (name, total) in enumerate(zip(COLUMNS, found.total, strict=True)):
        table.add_column(name, footer=total, justify="left" if position < 2 else "right", no_wrap=True)
    for row in found.layers:
        table.add_row(*row)
    console.print(table)


def to_csv(found: Rows) -> bytes:
    """Return the rows as CSV with a header; the ± columns carry the name of the column before."""
    names = [f"{COLUMNS[at - 1]} ±" if name == "±" else name for at, name in enumerate(COLUMNS)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([names, *found.layers])
    return text.getvalue().encode()


def to_markdown(found: Rows) -> bytes:
    """Return the rows as a Markdown table with title and notes."""
    lines = [f"# {found.title}", "", _line(COLUMNS), _line(["---", "---", *["---:"] * (len(COLUMNS) - 2)])]
    lines += [_line(row) for row in (*found.layers, found.total)]
    return "\n".join([*lines, "", *found.notes, ""]).encode()


def step_s(layer: Layer) -> float:
    """Return what one minibatch costs in this layer: forward, backward and update."""
    return layer.forward_s + layer.backward_s + layer.update_s


def _row(layer: Layer, profile: Profile, total_s: float) -> tuple[str, ...]:
    send_s = copy_s(profile.link, layer.output_bytes)
    sizes = (layer.output_bytes, layer.parameter_bytes, layer.saved_bytes)
    return (
        layer.name, layer.kind, *_times(layer), _ms(layer.update_s), _ms(send_s), f"{step_s(layer) / total_s:.1%}",
        *map(_mib, sizes), f"{layer.flops / 1e9:.3f}",
    )  # fmt: skip


def _total(profile: Profile) -> tuple[str, ...]:
    layers, loss = profile.layers, profile.loss
    return (
        "total", f"{len(layers)} layers",
        _ms(sum(layer.forward_s for layer in layers) + loss.forward_s), "",
        _ms(sum(layer.backward_s for layer in layers) + loss.backward_s), "",
        _ms(sum(layer.update_s for layer in layers)), "", "100.0%",
        _mib(sum(layer.output_bytes for layer in layers)),
        _mib(sum(layer.parameter_bytes for layer in layers)),
        _mib(sum(layer.saved_bytes for layer in layers)),
        f"{sum(layer.flops for layer in layers) / 1e9:.3f}",
    )  # fmt: skip


def _explanation(profile: Profile) -> str:
    return (
        f"The plain step takes {_ms(profile.whole_step_s)} ms; the parts add up to {profile.closure_error:+.1%} of "
        f"that. {profile.rounds} rounds. ±: half the 95% interval of the median. Update: with the write of the next "
        "weight version. Send: copying the output into a slot, paid before a cut only. Saved: kept for the backward."
    )


def _times(item: Layer | Loss) -> tuple[str, str, str, str]:
    cells = []
    for time_s, timing in ((item.forward_s, item.forward), (item.backward_s, item.backward)):
        width = f"{(timing.high_s - timing.low_s) / 2 / timing.median_s:.0%}" if timing and timing.median_s else ""
        cells += [_ms(time_s), width]
    return cells[0], cells[1], cells[2], cells[3]


def _line(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}" if seconds < 0.01 else f"{seconds * 1e3:.1f}"


def _mib(size: int) -> str:
    return f"{size / 2**20:.2f}"
