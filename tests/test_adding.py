"""CONTRIBUTING says where a scheme and a planner are added: the commands know a toy of each at once."""

import shutil
from pathlib import Path

import pytest
from strategies import chain

from optimizer.cli.main import main as optimizer
from optimizer.plan import Plan
from optimizer.planning import Planner, naming, other_planners
from profiler.files import read_json, to_json, write_whole
from profiler.settings import configs_folder


@pytest.fixture
def profile(in_folder: Path) -> Path:
    write_whole(in_folder / "p.json", to_json(chain([1, 2, 3, 4])))
    return in_folder / "p.json"


def planned(profile: Path, method: str) -> Plan:
    """The plan of a method, as the command writes it."""
    arguments = ["--profile", str(profile), "--stages", "2", "--any-machine", "--method", method, "-o", "plan.json"]
    assert optimizer(arguments) == 0
    return read_json(Path("plan.json"), Plan)


def test_a_scheme_is_a_line_in_a_file(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(configs_folder(), tmp_path / "configs")
    with (tmp_path / "configs" / "schemes.yaml").open("a") as file:
        file.write("toy: [75, 0, 25, 0]\n")
    monkeypatch.setattr("optimizer.planning.schemes.configs_folder", lambda: tmp_path / "configs")
    plan = planned(profile, "toy")
    assert (plan.method, plan.cuts) == ("toy", ("l2",))
    assert "toy" in capsys.readouterr().out, "it stands in the table of all partitions"


def test_a_planner_is_a_function_and_its_name(
    profile: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def first_layer_alone(name: str, planner: Planner) -> Plan:
        return planner.in_captured_order(name, [1])

    names = (*naming.OTHER_PLANNERS, "toy")
    monkeypatch.setattr(other_planners, "PLANNERS", {**other_planners.PLANNERS, "toy": first_layer_alone})
    for module in ("optimizer.planning.naming", "optimizer.planning.partitions", "optimizer.cli.main"):
        monkeypatch.setattr(f"{module}.OTHER_PLANNERS", names)
    plan = planned(profile, "toy")
    assert (plan.method, plan.cuts) == ("toy", ("l0",))
    assert "toy" in capsys.readouterr().out
