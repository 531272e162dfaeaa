"""``python -m optimizer`` as a user types it: limits, links, pages and refusals."""

import json
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from commands import OPTIMIZE, refusal
from strategies import chain, layer, profile

from optimizer.plan import Plan
from profiler.files import read_json, to_json, write_whole
from profiler.machine import this_machine
from profiler.profile import Profile


@pytest.fixture
def kept(in_folder: Path) -> Profile:
    """A profile of this machine in ``p.json``: six layers with samples."""
    found = chain([3, 1, 4, 1, 5, 9])
    layers = [
        replace(
            one,
            rounds_s=tuple(one.forward_s * (1 + 0.01 * (number % 3)) for number in range(9)),
            saved_bytes=1 << 20,
        )
        for one in found.layers
    ]
    found = replace(found, layers=tuple(layers), machine=this_machine())
    write_whole(in_folder / "p.json", to_json(found))
    return found


@pytest.mark.usefixtures("kept")
def test_a_plan_is_written_and_drawn(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--profile", "p.json", "--stages", "3", "--plot", "plan.html", "-o", "plan.json"]
    assert OPTIMIZE([*arguments, "--all"]) == 0
    printed = capsys.readouterr().out
    for words in ("the best split for this profile", "the best of 6 rules of thumb", "front-heavy"):
        assert words in printed
    assert (in_folder / "plan.html").read_bytes().startswith(b"<!")
    assert OPTIMIZE(["--profile", "p.json", "--stages", "3", "--plot", "what-if.html", "--quiet", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["bottleneck_s"] == plan["lower_bound_s"]
    page = (in_folder / "what-if.html").read_text()
    assert f'"cuts":{list(cuts_of_plan(in_folder))}'.replace(" ", "") in page


def cuts_of_plan(folder: Path) -> list[int]:
    """How many layers stand before each cut, where each layer may be cut off."""
    stages = read_json(folder / "plan.json", Plan).stages
    return list(accumulate(len(stage.layers) for stage in stages[:-1]))


@pytest.mark.usefixtures("kept")
def test_too_little_memory_ends_with_3_and_says_what_would_do(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = refusal(OPTIMIZE, ["--profile", "p.json", "--stages", "3", "--memory-limit", "4MiB"], capsys)
    assert code == 3
    assert "use --memory-limit 5MiB or more, or a smaller --batch-size" in line
    arguments = ["--profile", "p.json", "--stages", "3", "--memory-limit", "5MiB", "-o", "plan.json", "--quiet"]
    assert OPTIMIZE(arguments) == 0
    plan = read_json(in_folder / "plan.json", Plan)
    assert max(stage.memory_bytes for stage in plan.stages) <= 5 << 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stages", "7"], "use --stages 6 or fewer"),
        (["--cut-after", "l9"], "there is no layer 'l9'"),
        (["--cut-after", "l5"], "nothing is left behind l5"),
        (["--cut-after", ","], "is not a list of layers"),
        (["--memory-limit", "1500"], "is not a size with its unit"),
        (["--memory-limit", "1GiB", "--method", "end-load"], "--memory-limit is of the best split"),
        (["--cut-after", "l1", "--method", "end-load"], "--cut-after is of the best split"),
        (["--plot", "one.html", "-o", "one.html"], "one file for the plan and the page"),
        (["--plot", "plan.png"], "does not end in .html"),
    ],
)
@pytest.mark.usefixtures("kept")
def test_options_that_cannot_be_had_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code, line = refusal(OPTIMIZE, ["--profile", "p.json", *arguments], capsys)
    assert code == 2
    assert words in line


def test_a_graph_of_too_many_layers_is_refused(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = chain([1])
    layers = tuple(replace(found.layers[0], name=f"l{number}") for number in range(4001))
    write_whole(in_folder / "long.json", to_json(replace(found, layers=layers)))
    code, line = refusal(OPTIMIZE, ["--profile", "long.json", "--any-machine"], capsys)
    assert code == 2
    assert "4001 layers, and at most 4000 can be planned for" in line


SMALL = chain([3, 1, 4])
ODD = {
    "names that tables and plots could take for markup": replace(
        profile([layer("[/red]"), layer("[bold]")], [("[/red]", "[bold]")]), model="[/red]$x"
    ),
    "times of a nanosecond that vary much": replace(
        SMALL,
        layers=tuple(replace(one, forward_s=1e-9, backward_s=0.0, rounds_s=(0.0, 9e-9)) for one in SMALL.layers),
    ),
}


@pytest.mark.parametrize("found", ODD.values(), ids=ODD)
def test_unusual_profiles_are_planned_and_drawn(
    in_folder: Path, capsys: pytest.CaptureFixture[str], found: Profile
) -> None:
    write_whole(in_folder / "p.json", to_json(found))
    arguments = ["--profile", "p.json", "--any-machine", "--stages", "2"]
    assert OPTIMIZE([*arguments, "--plot", "p.html", "-o", "plan.json"]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("shape", ["apart", "fan"])
def test_a_wide_graph_is_planned_and_says_what_is_not_proven(in_folder: Path, shape: str) -> None:
    layers = [layer(f"l{number}", (1 + number % 5, 1, 0)) for number in range(300)]
    edges = [("l0", f"l{number}") for number in range(1, 300)] if shape == "fan" else []
    write_whole(in_folder / "p.json", to_json(profile(layers, edges)))
    arguments = ["--profile", "p.json", "--any-machine", "-o", "plan.json", "--quiet"]
    assert OPTIMIZE(arguments) == 0
    plan = read_json(in_folder / "plan.json", Plan)
    assert plan.method == "bounded"
    assert plan.lower_bound_s < plan.bottleneck_s
