"""Plan for the graphs that PipeDream published: model, bottleneck, and the layers of each stage.

    python benchmarks/published_graphs.py FOLDER --stages 4

Of each ``*.txt`` in the folder, and each profile ``*.json``. A line of a graph is a node, ``node4 -- Conv2d(…) --
forward_compute_time=ms, backward_compute_time=ms, activation_size=bytes, parameter_size=bytes``, or an edge, indented
by a tab, ``node3 -- node4``. The ``Input`` node's forward time is the data loader's and does not count. The layers'
order is a topological one, by the nodes' numbers among equals.

Source: github.com/msr-fiddle/pipedream, ``graph/graph.py`` for what is written.
"""

import argparse
import re
from pathlib import Path

import networkx as nx

from optimizer.planning import Planner
from profiler.errors import FileError
from profiler.files import read_json
from profiler.profile import INPUT, CopyCost, Edge, Layer, Loss, Machine, Profile, parts_s

MINIBATCHES = 16
UNKNOWN = "an unknown machine"
MACHINE = Machine(
    cpu=UNKNOWN, physical_cores=0, logical_cores=0, instructions="", memory_bytes=0, python="", torch="",
    torchvision="", allocator="", settings="",
)  # fmt: skip
_NODE = re.compile(r"(?P<name>\S+) -- (?P<kind>.*?) -- (?P<costs>forward_compute_time=.*)")
_EDGE = re.compile(r"\s+(?P<source>\S+) -- (?P<target>\S+)\s*")
_COST = re.compile(r"(\w+)=([^,\s]+)")
_Node = tuple[str, dict[str, float]]
_COSTS = ("forward_compute_time", "backward_compute_time", "activation_size", "parameter_size")


def read_graph(path: Path) -> Profile:
    """Return the profile that a ``graph.txt`` describes: compute times and sizes, without update, link or machine.

    Raises:
        FileError: A line is neither node nor edge, a cost is no number from 0 up, or the graph has a cycle.
    """
    graph, nodes = _parse(path.read_text(), path)
    try:
        order = list(nx.lexicographical_topological_sort(graph, key=_number))
    except nx.NetworkXUnfeasible as error:
        raise FileError(f"{path} has a cycle, so its layers have no order; check the file") from error
    sources = {name for name in order if nodes[name][0].startswith("Input")}
    layers = tuple(_layer(name, *nodes[name]) for name in order if name not in sources)
    if not layers:
        raise FileError(f"{path} has no layers; check the file")
    loss = Loss(forward_s=0.0, backward_s=0.0)
    total_s = parts_s(layers, loss)
    return Profile(
        model=path.name.removesuffix(".txt").removesuffix(".graph"),
        model_digest="",
        batch_size=1,
        input_shape=(1, 1),
        classes=0,
        update_rule="",
        momenta=0,
        machine=MACHINE,
        core=0,
        layers=layers,
        edges=tuple(
            Edge(source=INPUT if source in sources else source, target=target) for source, target in graph.edges
        ),
        inseparable=(),
        loss=loss,
        copy_cost=CopyCost(latency_s=0, s_per_byte=0),
        input_bytes=0,
        peak_memory_bytes=None,
        whole_step_s=total_s,
        closure_error=0.0,
        rounds=0,
        uncertainty=0.0,
        regret=0.0,
        foreign_load=0.0,
        measured_at="",
    )


def _parse(text: str, path: Path) -> tuple["nx.DiGraph[str]", dict[str, _Node]]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    nodes: dict[str, _Node] = {}
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        if node := _NODE.fullmatch(line.strip()):
            if node["name"] in nodes:
                raise FileError(f"{where}: there is a second node '{node['name']}'; check the file")
            nodes[node["name"]] = (node["kind"], _costs(node["costs"], where))
            graph.add_node(node["name"])
        elif edge := _EDGE.fullmatch(line):
            graph.add_edge(edge["source"], edge["target"])
        elif line.strip():
            raise FileError(f"{where}: this is neither a node nor an edge of a PipeDream graph; check the file")
    strangers = [name for name in graph if name not in nodes]
    if strangers:
        raise FileError(f"{path} has an edge at '{strangers[0]}' and no such node; check the file")
    return graph, nodes


def _costs(text: str, where: str) -> dict[str, float]:
    costs = {}
    for name, value in _COST.findall(text):
        try:
            costs[name] = float(value)
        except ValueError as error:
            raise FileError(f"{where}: {name} is '{value}', which is no number; check the file") from error
        if not 0 <= costs[name] < 1e15:
            raise FileError(f"{where}: {name} is {value}; a cost is a number from 0 up, so check the file")
    missing = [name for name in _COSTS if name not in costs]
    if missing:
        raise FileError(f"{where}: {missing[0]} is missing; check the file")
    return costs


def _layer(name: str, kind: str, costs: dict[str, float]) -> Layer:
    activation, parameters = round(costs["activation_size"]), round(costs["parameter_size"])
    return Layer(
        name=name,
        kind=kind.partition("(")[0],
        forward_s=costs["forward_compute_time"] / 1e3,
        backward_s=costs["backward_compute_time"] / 1e3,
        update_s=0.0,
        output_bytes=activation,
        gradient_bytes=activation,
        parameter_bytes=parameters,
        learning_bytes=parameters,
        saved_bytes=activation,
    )


def _number(name: str) -> tuple[int, str]:
    digits = re.sub(r"\D", "", name)[:18]
    return int(digits) if digits else 0, name


def main() -> None:
    """Print a line for each graph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stages", type=int, default=4)
    options = parser.parse_args()
    print("| model | bottleneck, ms | layers of each stage |\n|---|---:|---|")
    for path in sorted([*options.folder.glob("*.txt"), *options.folder.glob("*.json")]):
        profile = read_json(path, Profile) if path.suffix == ".json" else read_graph(path)
        plan = Planner(profile, options.stages, MINIBATCHES).optimized()
        counts = " + ".join(str(len(stage.layers)) for stage in plan.stages)
        print(f"| {profile.model} | {plan.bottleneck_s * 1e3:.3f} | {counts} |")


if __name__ == "__main__":
    main()
