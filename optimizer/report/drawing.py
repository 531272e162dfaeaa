"""Draw a plan as an SVG: the layer graph with a colour for each stage and an area for each layer's time."""

import math
from typing import TYPE_CHECKING

import networkx as nx

from optimizer.plan import Plan
from profiler.profile import INPUT, Layer, Profile
from profiler.report import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2166ac", "#b2182b", "#1b7837", "#762a83", "#b35806", "#01665e", "#4d4d4d", "#c51b7d")
NAMED = 8
"""So many of the costliest layers are named."""
LARGEST_AREA, SMALLEST_AREA = 500.0, 6.0
"""Of a disc, in square points; areas in between go by time."""
LINE = 42
"""So many layers follow each other in one line of the drawing."""

Places = dict[str, tuple[float, float]]


def plan_svg(plan: Plan, profile: Profile) -> bytes:
    """Return the drawing.

    Layers stand from left to right by the length of the longest path before them, in as many lines as that takes, as
    text does; branches stand above each other.
    """
    places = _places(profile)
    height = 1 + max(y for _, y in places.values()) - min(y for _, y in places.values())
    with drawing(plan.model, 0.26 * LINE, 1.6 + 0.42 * height) as drawn:
        axes = drawn.axes[0]
        _edges(axes, profile, places)
        _layers(axes, plan, profile, places)
        _names(axes, profile, places)
        axes.set_title(
            f"{plan.model}, batch {plan.batch_size}, {plan.method}: slowest stage {plan.bottleneck_s * 1e3:.1f} ms\n"
            "from left to right and line by line; a disc's area is the time of its layer, forward, backward and update",
            pad=28,
        )
        axes.margins(x=0.03, y=0.12)
        axes.set_axis_off()
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=4, frameon=False)
    return drawn.svg


def _places(profile: Profile) -> Places:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(layer.name for layer in profile.layers)
    graph.add_edges_from((edge.source, edge.target) for edge in profile.edges if edge.source != INPUT)
    generations = list(nx.topological_generations(graph))
    distance = 2.5 + max(map(len, generations))
    places: Places = {}
    for column, generation in enumerate(generations):
        for row, name in enumerate(generation):
            places[name] = (float(column % LINE), (len(generation) - 1) / 2 - row - column // LINE * distance)
    return places


def _edges(axes: "Axes", profile: Profile, places: Places) -> None:
    for edge in profile.edges:
        if edge.source != INPUT and edge.kind == "data":
            start, end = places[edge.source], places[edge.target]
            bend = 0.25 if end[0] - start[0] > 1.0 and start[1] == end[1] else 0.0
            colour = "#999999" if end[0] > start[0] else "#dddddd"  # the latter goes on in the next line
            line = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "connectionstyle": f"arc3,rad={bend}"}
            axes.annotate("", end, start, arrowprops=line, zorder=1)


def _area(layer: Layer, largest_s: float) -> float:
    return max(SMALLEST_AREA, LARGEST_AREA * layer.step_s / largest_s)


def _layers(axes: "Axes", plan: Plan, profile: Profile, places: Places) -> None:
    largest_s = max(layer.step_s for layer in profile.layers) or 1.0
    area = {layer.name: _area(layer, largest_s) for layer in profile.layers}
    for number, stage in enumerate(plan.stages):
        colour = COLOURS[number % len(COLOURS)]
        axes.scatter(
            [places[name][0] for name in stage.layers],
            [places[name][1] for name in stage.layers],
            s=[area[name] for name in stage.layers],
            color=colour,
            alpha=0.85,
            linewidths=0,
            zorder=2,
        )
        label = f"stage {number}: {len(stage.layers)} layers, {stage.total_s * 1e3:.1f} ms"
        axes.scatter([], [], s=40, color=colour, label=label)


def _names(axes: "Axes", profile: Profile, places: Places) -> None:
    costliest = sorted(profile.layers, key=lambda layer: -layer.step_s)[:NAMED]
    for layer in costliest:
        radius = math.sqrt(_area(layer, costliest[0].step_s or 1.0) / math.pi)
        axes.annotate(
            f"{layer.name}, {layer.step_s * 1e3:.1f} ms", places[layer.name], xytext=(0.7 * radius, 0.7 * radius),
            rotation=30, textcoords="offset points", fontsize=7, zorder=3,
        )  # fmt: skip
