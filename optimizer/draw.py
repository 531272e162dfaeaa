"""Draw a plan as an SVG: the layer graph with a colour for each stage and an area for each layer's time."""

import io
from typing import TYPE_CHECKING

import networkx as nx

from optimizer.types import Plan
from profiler.types import INPUT, Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2166ac", "#b2182b", "#1b7837", "#762a83", "#b35806", "#01665e", "#4d4d4d", "#c51b7d")
NAMED = 8
"""So many of the costliest layers are named."""
LARGEST_AREA, SMALLEST_AREA = 900.0, 6.0
"""Of a disc, in square points; areas in between go by time."""

Places = dict[str, tuple[float, float]]


def plan_svg(plan: Plan, profile: Profile) -> bytes:
    """Return the drawing: layers from left to right by how many layers lie before them, branches above each other."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    places = _places(profile)
    columns = 1 + max(x for x, _ in places.values())
    rows = 1 + max(y for _, y in places.values()) - min(y for _, y in places.values())
    with mpl.rc_context({"svg.hashsalt": plan.model, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(max(9.0, 0.2 * columns), max(3.0, 1.8 + 0.35 * rows)), layout="constrained")
        axes = figure.subplots()
        _edges(axes, profile, places)
        _layers(axes, plan, profile, places)
        _names(axes, profile, places)
        axes.set_title(
            f"{plan.model}, batch {plan.batch_size}, {plan.method}: slowest stage {plan.bottleneck_s * 1e3:.1f} ms"
        )
        axes.margins(x=0.02, y=0.35)
        axes.set_axis_off()
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=4, frameon=False)
        text = io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _places(profile: Profile) -> Places:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(layer.name for layer in profile.layers)
    graph.add_edges_from((edge.source, edge.target) for edge in profile.edges if edge.source != INPUT)
    places: Places = {}
    for column, generation in enumerate(nx.topological_generations(graph)):
        for row, name in enumerate(generation):
            places[name] = (float(column), (len(generation) - 1) / 2 - row)
    return places


def _edges(axes: "Axes", profile: Profile, places: Places) -> None:
    for edge in profile.edges:
        if edge.source != INPUT and edge.kind == "data":
            start, end = places[edge.source], places[edge.target]
            bend = 0.25 if end[0] - start[0] > 1.0 and start[1] == end[1] else 0.0
            line = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7, "connectionstyle": f"arc3,rad={bend}"}
            axes.annotate("", end, start, arrowprops=line)


def _layers(axes: "Axes", plan: Plan, profile: Profile, places: Places) -> None:
    largest_s = max(layer.step_s for layer in profile.layers) or 1.0
    area = {layer.name: max(SMALLEST_AREA, LARGEST_AREA * layer.step_s / largest_s) for layer in profile.layers}
    for number, stage in enumerate(plan.stages):
        axes.scatter(
            [places[name][0] for name in stage.layers],
            [places[name][1] for name in stage.layers],
            s=[area[name] for name in stage.layers],
            color=COLOURS[number % len(COLOURS)],
            linewidths=0,
            zorder=2,
        )
        axes.scatter(
            [], [], s=40, color=COLOURS[number % len(COLOURS)],
            label=f"stage {number}: {len(stage.layers)} layers, {stage.total_s * 1e3:.1f} ms",
        )  # fmt: skip


def _names(axes: "Axes", profile: Profile, places: Places) -> None:
    costliest = sorted(profile.layers, key=lambda layer: -layer.step_s)[:NAMED]
    for layer in costliest:
        axes.annotate(
            f"{layer.name}, {layer.step_s * 1e3:.1f} ms", places[layer.name], xytext=(4, 12), rotation=35,
            textcoords="offset points", fontsize=7,
        )  # fmt: skip
