"""PipeDream's graph files, and the optima of its published profiles, as the script that compares planners has them."""

import sys
from pathlib import Path

import pytest
from places import TESTS
from scripts import script

from profiler.errors import FileError
from profiler.profile import INPUT, Profile

SCRIPT = script("published_graphs")

COSTS = "forward_compute_time=1.500, backward_compute_time=2.000, activation_size=4096.000, parameter_size=0.000"
GRAPH = f"""node10 -- ReLU(inplace) -- {COSTS}
node2 -- Conv2d(3, 8, kernel_size=(3, 3)) -- {COSTS.replace("parameter_size=0", "parameter_size=128")}
node1 -- Input -- forward_compute_time=99.0, backward_compute_time=0.0, activation_size=1.0, parameter_size=0.0
node3 -- Add(inplace) -- {COSTS}
\tnode1 -- node2
\tnode2 -- node10
\tnode10 -- node3
\tnode2 -- node3
"""


def read(tmp_path: Path, text: str) -> Profile:
    path = tmp_path / "small.graph.txt"
    path.write_text(text)
    found: Profile = SCRIPT.read_graph(path)
    return found


def test_a_graph_is_read_in_topological_order(tmp_path: Path) -> None:
    found = read(tmp_path, GRAPH)
    assert found.model == "small"
    assert [(layer.name, layer.kind) for layer in found.layers] == [
        ("node2", "Conv2d"), ("node10", "ReLU"), ("node3", "Add"),
    ]  # fmt: skip
    assert {(edge.source, edge.target) for edge in found.edges} == {
        (INPUT, "node2"), ("node2", "node10"), ("node10", "node3"), ("node2", "node3"),
    }  # fmt: skip
    first = found.layers[0]
    assert (first.forward_s, first.backward_s, first.update_s) == (0.0015, 0.002, 0.0)
    assert (first.output_bytes, first.parameter_bytes) == (4096, 128)
    assert found.whole_step_s == pytest.approx(3 * 0.0035), "the loader's time is nobody's compute"


def test_the_published_profiles_have_the_known_optima_in_four_stages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["published_graphs.py", str(TESTS / "data")])
    SCRIPT.main()
    rows = [line.split("|")[1:3] for line in capsys.readouterr().out.splitlines()[2:]]
    found = {name.strip(): bottleneck_ms.strip() for name, bottleneck_ms in rows}
    assert found == {"alexnet": "28.721", "vgg16": "216.450", "resnet50": "111.497"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("\tnode2 -- node3", "\tnode2 -- node4711"), "no such node"),
        (("1.500", "much"), "is no number"),
        (("\tnode2 -- node3", "what is this"), "neither a node nor an edge"),
    ],
)
def test_what_is_wrong_in_a_graph_is_named(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    with pytest.raises(FileError, match=r"small\.graph\.txt") as refused:
        read(tmp_path, GRAPH.replace(*change))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
