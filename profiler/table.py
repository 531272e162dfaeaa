"""Show a profile as a table with totals."""

from typing import TYPE_CHECKING

from profiler.types import Layer, Profile

if TYPE_CHECKING:
    from rich.console import Console

CLOSURE_LIMIT = 0.05


def show(profile: Profile, console: "Console") -> None:
    """Print the layers in captured order, their totals, and how well they explain the whole step."""
    from rich import box
    from rich.table import Table

    shape = "×".join(map(str, profile.input_shape))
    title = f"{profile.model}, input {shape}, one core of {profile.machine.cpu}"
    table = Table(title=title, caption=_caption(profile), caption_justify="left", show_footer=True, box=box.SIMPLE)
    total_s = sum(map(step_s, profile.layers))
    columns = (
        ("layer", "total"),
        ("kind", f"{len(profile.layers)} layers"),
        ("forward ms", _ms(sum(layer.forward_s for layer in profile.layers))),
        ("±", ""),
        ("backward ms", _ms(sum(layer.backward_s for layer in profile.layers))),
        ("±", ""),
        ("update ms", _ms(sum(layer.update_s for layer in profile.layers))),
        ("share", "100.0%"),
        ("output MiB", _mib(sum(layer.output_bytes for layer in profile.layers))),
        ("params MiB", _mib(sum(layer.parameter_bytes for layer in profile.layers))),
        ("saved MiB", _mib(sum(layer.saved_bytes for layer in profile.layers))),
        ("GFLOP", f"{sum(layer.flops for layer in profile.layers) / 1e9:.3f}"),
    )
    for position, (name, total) in enumerate(columns):
        table.add_column(name, footer=total, justify="left" if position < 2 else "right", no_wrap=True)
    for layer in profile.layers:
        table.add_row(
            layer.name, layer.kind,
            _ms(layer.forward_s), _half_width(layer, "forward"),
            _ms(layer.backward_s), _half_width(layer, "backward"),
            _ms(layer.update_s), f"{step_s(layer) / total_s:.1%}",
            _mib(layer.output_bytes), _mib(layer.parameter_bytes), _mib(layer.saved_bytes), f"{layer.flops / 1e9:.3f}",
        )  # fmt: skip
    console.print(table)


def step_s(layer: Layer) -> float:
    """Return what one minibatch costs in this layer: forward, backward and update."""
    return layer.forward_s + layer.backward_s + layer.update_s


def _caption(profile: Profile) -> str:
    loss_ms = _ms(profile.loss.forward_s + profile.loss.backward_s)
    text = (
        f"Loss {loss_ms} ms. The plain step takes {_ms(profile.whole_step_s)} ms; the parts add up to "
        f"{profile.closure_error:+.1%} of that. ±: half the 95% interval of the median. Saved: kept for the backward."
    )
    if abs(profile.closure_error) > CLOSURE_LIMIT:
        text += " Above 5% the costs are in doubt: other work on this core is the likely cause, so profile again."
    return text


def _half_width(layer: Layer, phase: str) -> str:
    timing = getattr(layer, phase)
    return f"{(timing.high_s - timing.low_s) / 2 / timing.median_s:.0%}" if timing and timing.median_s else ""


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}" if seconds < 0.01 else f"{seconds * 1e3:.1f}"


def _mib(size: int) -> str:
    return f"{size / 2**20:.2f}"
