"""The three commands as a user types them: what they print, what they write, and how they refuse."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import MODEL, OPTIMIZE, PROFILE, RUN, SMALL, Command, refusal
from other_forms import lowered
from strategies import chain

from optimizer.plan import Plan
from optimizer.planning import Planner
from optimizer.schedule import Pace
from profiler.files import read_json, to_json, write_whole
from profiler.profile import Form, Profile, Slicing
from runtime.cli import stageplan
from runtime.compare import Comparison, RunRecord, Step
from runtime.compare.rounds import _attempt
from runtime.results import CLOCKS, Clock, RunResult

pytestmark = pytest.mark.usefixtures("kept_workers")
KEPT = "profiles/small_models-Residual-b4-16.json"


@pytest.fixture(scope="module")
def small_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a profile of the small model, measured once."""
    folder = tmp_path_factory.mktemp("profiled")
    with chdir(folder):
        assert PROFILE([*MODEL, "--budget", "0.5s", "--quiet"]) == 0
    return folder / "profiles"


@pytest.fixture
def profiled(in_folder: Path, small_profile: Path) -> Path:
    """An empty folder to be in, but for that profile."""
    shutil.copytree(small_profile, in_folder / "profiles")
    return in_folder


@pytest.mark.slow
def test_profile_plan_run_and_compare_work_together(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert PROFILE([*MODEL]) == 0
    printed = capsys.readouterr().out
    assert "Next: python -m optimizer --model small_models:Residual" in printed
    profile = read_json(in_folder / KEPT, Profile)
    computing = [layer for layer in profile.layers if layer.kind != "Dropout"]
    assert all(layer.forward_s > 0 and layer.backward_s > 0 for layer in computing)

    assert OPTIMIZE([*SMALL, "--stages", "2", "-o", "plan.json"]) == 0
    printed = capsys.readouterr().out
    assert "batch 4, 2 stages, 1f1b: " in printed
    assert "Next: python -m runtime run --plan plan.json" in printed
    plan = read_json(in_folder / "plan.json", Plan)
    assert len(plan.stages) == 2

    assert RUN(["run", "--plan", "plan.json", "--batches", "6", "-o", "run.json"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert " s in all" in said
    assert "; loss " in said
    run = read_json(in_folder / "run.json", RunResult)
    assert len(run.losses) == 6

    assert (
        RUN(["compare", *SMALL, "--stages", "2", "--batches", "5", "--repeats", "2", "--out", "found", "--json"]) == 0
    )
    printed = capsys.readouterr().out
    comparison = read_json(in_folder / "found" / "comparison.json", Comparison)
    assert json.loads(printed)["request"]["model"] == "small_models:Residual"
    assert comparison.typed == (*MODEL, "--stages", "2")
    assert comparison.partitions[0].name == "optimized"
    assert len(comparison.partitions) == 7
    assert all(1 <= len(part.by_round) <= 2 and min(part.by_round.values()) > 0 for part in comparison.partitions)
    assert (in_folder / "found" / "report.html").read_text().startswith("<!doctype html>")
    best = min(part.plan.bottleneck_s for part in comparison.partitions)
    assert comparison.partitions[0].plan.bottleneck_s == best
    assert comparison.comparable == (len(os.sched_getaffinity(0)) >= 2)


@pytest.mark.slow
@pytest.mark.parametrize("clock", CLOCKS)
def test_stages_that_outnumber_the_cores_say_by_which_clock_they_ran(
    profiled: Path, capsys: pytest.CaptureFixture[str], usable: tuple[int, ...], clock: Clock
) -> None:
    arguments = ["compare", *SMALL, "--stages", "2", "--cores", str(usable[0]), "--partitions", "optimized,end-load"]
    chosen = ["--clock", "wall"] if clock == "wall" else []
    assert RUN([*arguments, *chosen, "--batches", "4", "--repeats", "1", "--out", "."]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    comparison = read_json(profiled / "comparison.json", Comparison)
    assert comparison.clock == clock
    assert comparison.comparable == (clock == "virtual")
    assert bool(comparison.audit.splits) == (clock == "virtual")
    assert ("NOT FIRM: 2 stages shared cores, which no prediction is about" in printed) == (clock == "wall")
    assert f", {clock} clock: " in printed
    report = (profiled / "report.html").read_text()
    assert report.count("Virtual clock: 2 stages took turns on 1 core") == (clock == "virtual")
    assert comparison.one_core.by_round
    assert "Plain PyTorch is left out: there is one core" in comparison.left_out[0]
    assert ("Worked out for 2 cores; this machine has 1." in printed) == (clock == "virtual")


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        (PROFILE, ["--model", "alexnet", "--image-size", "8"], "rejects input of shape"),
        (PROFILE, ["--model", "alexnet", "--batch-size", "0"], "'0' is not a whole number from 1 up"),
        (PROFILE, ["--model", "alexnet", "--cores", "0,0"], "not a list of distinct cores"),
        (PROFILE, ["--config", "none.yaml", "--model", "alexnet"], "cannot stand together"),
        (PROFILE, ["--model", "alexnet", "vgg16", "-o", "one.json"], "one file for 2 profiles"),
        (PROFILE, ["--model", "alexnet", "--budget", "0s"], "'0s' is not a time above 0"),
        (PROFILE, ["--model", "alexnet", "--batch-size", "1000000"], "use a smaller --batch-size"),
        (PROFILE, ["--model", "alexnet", "--batch-size", "10000000"], "--batch-size: batch_size cannot be 10000000"),
        (PROFILE, ["--model", "./mycnn.py"], "a model in that file is named mycnn:Net"),
        (PROFILE, ["--model", "mycnn.Net"], "your own is named mycnn:Net, with a colon"),
        (PROFILE, ["--model", "x" * 300], "File name too long"),
        (PROFILE, ["--model", "alexnet", "-o", "text.json/p.json"], "cannot write"),
        (PROFILE, ["--model", "alexnet", "-o", "p.txt"], "does not end in .json"),
        (PROFILE, ["--model", "small_models:BreaksBackward", "--image-size", "16"], "LookupError: no gradient here"),
        (PROFILE, ["--model", "small_models:varying", "--image-size", "16"], "let its factory build the same model"),
        (PROFILE, ["--model", "small_models:Recomputing", "--image-size", "16"], "as checkpointing does"),
        (PROFILE, ["--model", "alexnet", "--sample-shape", "16,x"], "'x' is not a whole number"),
        (RUN, ["compare", *SMALL, "--out", "."], "cannot write report.html: it is a folder"),
        (RUN, ["compare", "--config", "study.yaml"], "there is no model 'alexnot' in torchvision"),
        (RUN, ["run", "--config", "study.yaml"], "run takes one model"),
        (RUN, ["run"], "add --plan plan.json"),
        (RUN, ["run", "--config", "kept/plan.json"], "kept/plan.json is a plan, not a configuration; use --plan"),
        (OPTIMIZE, [], "no model is named"),
        (OPTIMIZE, ["--profile", "text.json"], "is not a profile"),
        (OPTIMIZE, [*SMALL, "--method", "endload"], "did you mean 'end-load'"),
        (RUN, ["run", "--plan", "text.json"], "is not a plan"),
        (RUN, ["run", "--plan", "text.json", "--model", "alexnet"], "leave out --model"),
        (RUN, ["run", "--plan", "kept/plan.json", "--precision", "fp32"], "--slice, --precision and the sizes"),
        (RUN, ["run", "--plan", "text.json", "-o", "text.json"], "would replace the plan"),
        (RUN, ["run", *SMALL, "-o", "a.json", "--trace", "a.json"], "a.json would hold two things"),
        (RUN, ["run", *SMALL, "--data", "loaders"], "'loaders' names no factory; write package.module:factory"),
        (RUN, ["run", *SMALL, "--partition", "all"], "run takes one partition"),
        (RUN, ["run", *SMALL, "--update-every", "4"], "--update-every says nothing to --schedule 1f1b"),
        (OPTIMIZE, [*SMALL, "--batches", "1001"], "1,001 minibatches are too many"),
        (RUN, ["run", *SMALL, "--batches", "1001"], "give --batches 1000 or fewer (train takes any number)"),
        (RUN, ["run", *SMALL, "--clock", "virtual", "--channel", "gloo"], "leave out --channel gloo"),
        (OPTIMIZE, [*MODEL, "--link", "100"], "'100' is not a network's Mbit/s and its latency in ms, such as 100,0.2"),
        (OPTIMIZE, [*MODEL, "--link", "0,1"], "'0,1' is not a network's Mbit/s and its latency in ms, such as 100,0.2"),
        (RUN, ["run", *SMALL, "--partition", "sliced"], "--slice none or one stage leaves them whole"),
        (OPTIMIZE, [*MODEL, "--slice", ""], "the slicing is empty; write auto, none, or"),
        (OPTIMIZE, [*MODEL, "--slice", "fc=2", "--method", "end-load"], "--method end-load knows whole layers only"),
        (RUN, ["verify", *MODEL, "--slice", "fc=2", "--partition", "end-load"], "name it, too, or leave --slice out"),
        (RUN, ["run", *SMALL, "--trace", "run.png"], "ends in neither .json (for Perfetto) nor .svg"),
        (RUN, ["run", *SMALL, "--precision", "bf17"], "precision cannot be 'bf17' (did you mean 'bf16'?)"),
        (RUN, ["run", *SMALL, "--partition", "bf16"], "--precision auto looks for"),
        (RUN, ["dance"], "invalid choice: 'dance'"),
        (stageplan.main, ["profile", "--stagse", "1"], "did you mean '--stages'?); see stageplan profile --help"),
        (stageplan.main, ["run", "--plan", "none.json"], "cannot read none.json"),
        (PROFILE, ["--model", "net.stageplan-model"], "there is no model 'net.stageplan-model' in torchvision"),
        (RUN, ["run", "--plan", "kept/plan.json", "--stages", "3"], "kept/plan.json has 2 stages"),
        (RUN, ["run", "--plan", "kept/plan.json"], "whose layers are not those of this small_models:Res"),
        (OPTIMIZE, ["--profile", KEPT, "--precision", "bf16"], "fp32; leave out --precision bf16"),
        (OPTIMIZE, ["--profile", KEPT, "--slice", "fc=2"], "layers whole, and --slice fc=2 cuts some inside"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_and_leaves_nothing(
    profiled: Path, capsys: pytest.CaptureFixture[str], command: Command, arguments: list[str], words: str
) -> None:
    (profiled / "text.json").write_text("hello")
    (profiled / "kept").mkdir()
    plan = replace(Planner(chain([1, 2]), 2, 4).optimized(), model="small_models:Residual")
    write_whole(profiled / "kept" / "plan.json", to_json(plan))
    (profiled / "study.yaml").write_text("models: {alexnet: 4, alexnot: 4}\nbatch_sizes: [1]\n")
    (profiled / "report.html").mkdir()
    code, line = refusal(command, arguments, capsys)
    assert code == 2
    assert line.startswith("error: ")
    assert words in line
    given = {"text.json", "study.yaml", "report.html", "profiles", "kept"}
    assert not {path.name for path in profiled.iterdir()} - given


def test_a_profile_from_another_machine_is_planned_for_when_told_so(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_whole(in_folder / "p.json", to_json(chain([1, 2, 3, 4])))
    code, line = refusal(OPTIMIZE, ["--profile", "p.json", "--stages", "2"], capsys)
    assert code == 2
    assert "cpu test there, " in line
    assert "--any-machine" in line
    assert OPTIMIZE(["--profile", "p.json", "--stages", "2", "--any-machine"]) == 0
    assert "measured elsewhere: cpu test there, " in capsys.readouterr().err


@pytest.mark.slow
def test_layers_are_cut_inside_as_asked_and_the_plan_says_so(
    profiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*MODEL, "--stages", "2", "--slice", "fc=2,conv1=4", "-o", "plan.json"]
    assert OPTIMIZE([*given, "--all"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Cut inside: fc into 2 blocks and conv1 into 4 blocks" in printed
    assert "sliced" in printed
    plan = read_json(profiled / "plan.json", Plan)
    assert plan.slicing == "fc=2,conv1=4"
    assert "conv1.block3" in {layer for stage in plan.stages for layer in stage.layers}
    assert RUN(["run", "--plan", "plan.json", "--batches", "4", "-o", "run.json", "--trace", "run.svg"]) == 0
    assert RUN(["verify", "--plan", "plan.json", "--batches", "4", "--channel", "gloo"]) == 0
    capsys.readouterr()
    (kept,) = Path("profiles").glob("*-sliced-*.json")
    assert OPTIMIZE(["--profile", str(kept), "--stages", "2", "--quiet", "-o", "other.json"]) == 0
    assert read_json(profiled / "other.json", Plan) == plan
    assert OPTIMIZE([*given, "--quiet"]) == 0
    assert "measuring" not in capsys.readouterr().err, "what is known is not measured again"
    code, line = refusal(OPTIMIZE, ["--profile", str(kept), "--slice", "none"], capsys)
    assert code == 2
    assert line.endswith("leave out --slice none")


@pytest.mark.slow
def test_a_comparison_has_the_partition_with_layers_cut_inside(
    profiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["compare", *MODEL, "--stages", "2", "--slice", "conv1=2", "--partitions", "optimized,sliced,end-load"]
    assert RUN([*given, "--batches", "5", "--repeats", "1", "--out", "."]) == 0
    printed = " ".join(capsys.readouterr().err.split())
    comparison = read_json(profiled / "comparison.json", Comparison)
    assert [part.name for part in comparison.partitions] == ["optimized", "sliced", "end-load"]
    assert comparison.reference == "sliced"
    assert [part.plan.slicing for part in comparison.partitions] == ["", "conv1=2", ""]
    assert all(part.by_round for part in comparison.partitions)
    assert "cut inside: conv1 into 2 blocks" in printed
    assert "conv1.block1" not in {layer.name for layer in comparison.layers}


@pytest.fixture
def lower_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that multiplies bfloat16, whatever this one does."""
    monkeypatch.setattr("profiler.cli.options._missing", str)


LOWER = ["--model", "small_models:Residual", "--batch-size", "2", "--image-size", "16"]


@pytest.mark.slow
@pytest.mark.usefixtures("lower_core")
def test_layers_run_in_bfloat16_as_asked_from_the_profile_to_the_comparison(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lower = [*LOWER, "--slice", "none", "--stages", "2", "--precision", "bf16"]
    assert PROFILE([*LOWER, "--precision", "bf16", "--budget", "0.5s"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert ", bf16, one core" in printed
    path = "profiles/small_models-Residual-b2-16-bf16.json"
    profile = read_json(in_folder / path, Profile)
    assert profile.precision == "bf16"
    kinds = {layer.kind for layer in profile.layers if layer.cast_bytes}
    assert kinds == {"Conv2d", "Linear"}, "what autocast casts weights of"

    assert OPTIMIZE([*lower, "-o", "plan.json"]) == 0
    assert "batch 2, bf16, 2 stages" in " ".join(capsys.readouterr().out.split())
    plan = read_json(in_folder / "plan.json", Plan)
    assert plan.precision == "bf16"
    assert RUN(["run", "--plan", "plan.json", "--batches", "4", "-o", "run.json"]) == 0
    assert RUN(["verify", *lower, "--batches", "4", "--partition", "optimized,end-load"]) == 0
    given = ["compare", *lower, "--partitions", "optimized,end-load", "--out", "."]
    assert RUN([*given, "--batches", "4", "--repeats", "1"]) == 0
    comparison = read_json(in_folder / "comparison.json", Comparison)
    assert {part.plan.precision for part in comparison.partitions} == {"bf16"}
    assert comparison.whole_precision == "bf16"
    assert "one core, bf16" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
@pytest.mark.usefixtures("lower_core")
def test_auto_adds_what_is_faster_and_says_what_it_gains(profiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(KEPT)
    profile = replace(read_json(path, Profile), uncertainty=0.0)  # however loud the machine was
    faster = [1e3 * layer.forward_s / 9 for layer in profile.layers]
    write_whole(path, to_json(profile))
    write_whole(Path("profiles/small_models-Residual-b4-16-bf16.json"), to_json(lowered(profile, faster)))
    given = ["compare", *SMALL, "--stages", "2", "--precision", "auto", "--partitions", "optimized,bf16"]
    assert RUN([*given, "--batches", "4", "--repeats", "1", "--out", "."]) == 0
    comparison = read_json(profiled / "comparison.json", Comparison)
    assert [(part.name, part.plan.precision) for part in comparison.partitions] == [
        ("optimized", "fp32"), ("bf16", "bf16"),
    ]  # fmt: skip
    assert comparison.reference == "bf16"
    assert "all layers run in bf16: the slowest stage is" in comparison.forms
    assert OPTIMIZE([*SMALL, "--stages", "2", "--precision", "auto", "-o", "plan.json"]) == 0
    assert read_json(profiled / "plan.json", Plan).precision == "bf16"

    given = [*MODEL, "--stages", "2", "--precision", "auto", "-o", "plan.json"]
    assert OPTIMIZE([*given, "--method", "front-heavy"]) == 0
    assert (plan := read_json(profiled / "plan.json", Plan)).method == "front-heavy"
    assert plan.precision == "fp32", "as every other method plans"
    assert OPTIMIZE([*given, "--slice", "conv1=2"]) == 0
    assert read_json(profiled / "plan.json", Plan).slicing == "conv1=2"
    kept = [read_json(found, Profile).form for found in Path("profiles").glob("*-sliced-*.json")]
    assert set(kept) == {Form(Slicing("conv1=2"), precision) for precision in ("fp32", "bf16")}
    assert RUN(["verify", "--plan", "plan.json", "--batches", "3"]) == 0

    slower = [1e4 * layer.step_s for layer in profile.layers]
    write_whole(Path("profiles/small_models-Residual-b4-16-bf16.json"), to_json(lowered(profile, slower)))
    capsys.readouterr()
    assert OPTIMIZE([*SMALL, "--stages", "2", "--precision", "auto", "-o", "plan.json"]) == 0
    assert "he best split in bf16 gains less than the profiles leave open" in " ".join(capsys.readouterr().out.split())
    assert read_json(profiled / "plan.json", Plan).precision == "fp32"
    assert RUN(["run", *SMALL, "--stages", "2", "--precision", "auto", "--batches", "3"]) == 0
    assert "the best split in bf16 gains less than the profiles leave open" in " ".join(capsys.readouterr().err.split())


def test_a_core_without_the_instructions_says_so_at_once(
    profiled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profiler.machine.bfloat16_instructions", lambda: "")
    for command, arguments in ((OPTIMIZE, []), (RUN, ["run"]), (PROFILE, [])):
        code, line = refusal(command, [*arguments, *MODEL, "--precision", "bf16"], capsys)
        assert code == 2
        assert "cannot run in bf16 here: this core has neither AMX nor AVX-512-BF16" in line
        assert line.endswith("use --precision fp32")
    assert OPTIMIZE([*SMALL, "--stages", "2", "--precision", "auto", "-o", "plan.json"]) == 0
    assert "layers run in fp32: this core has neither AMX nor AVX-512-BF16" in " ".join(capsys.readouterr().err.split())
    assert read_json(profiled / "plan.json", Plan).precision == "fp32"


def test_every_layer_and_the_totals_are_shown_where_asked(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert PROFILE([*MODEL, "--budget", "0.1s", "-o", "here.json", "--all"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in (" loss ", " layers ", "Shown: the top") if name in shown] == [" loss ", " layers "]
    assert (in_folder / "here.json").is_file()


@pytest.mark.slow
def test_a_channel_that_cannot_be_opened_is_refused(
    profiled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.channels.gloo.LOOPBACK", "no-such-interface")
    arguments = ["run", *SMALL, "--stages", "2", "--channel", "gloo", "--batches", "3"]
    own_pool = ["--stall-timeout", "60s"]  # whose processes have not met before
    code, line = refusal(RUN, [*arguments, *own_pool], capsys)
    assert code == 2
    assert "the gloo channel cannot be opened" in line
    assert line.endswith("check GLOO_SOCKET_IFNAME, or use --channel shm")
    assert {path.name for path in profiled.iterdir()} == {"profiles"}


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_said_of_a_run(profiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", *SMALL, "--stages", "2", "--batches", "5", "--data", "loaders:broken_from_the_third_on"]
    assert RUN([*arguments, "-o", "run.json"]) == 0
    assert "the loss is no longer a finite number" in capsys.readouterr().err
    losses = read_json(profiled / "run.json", RunResult).losses
    assert [loss is None for loss in losses] == [False, False, True, True, True]


def test_a_plan_runs_under_the_schedule_that_it_is_for(profiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "--stages", "2", "--schedule", "zero-bubble", "--update-every", "3", "-o", "plan.json"]
    assert OPTIMIZE(arguments) == 0
    plan = read_json(profiled / "plan.json", Plan)
    assert plan.planned_for == plan.pace == Pace("zero-bubble", 3, 3)
    capsys.readouterr()
    assert RUN(["run", "--plan", "plan.json", "--batches", "7", "-o", "run.json"]) == 0
    said = capsys.readouterr()
    assert "zero-bubble every 3 (synchronous, one update for several minibatches" in " ".join(said.out.split())
    assert "not found for" not in said.err
    assert "no longer a finite" not in said.err
    assert read_json(profiled / "run.json", RunResult).plan.pace == Pace("zero-bubble", 3, 3)
    assert RUN(["run", "--plan", "plan.json", "--batches", "4", "--schedule", "1f1b"]) == 0
    assert "1f1b, which the split was not found for: that was zero-bubble every 3" in " ".join(
        capsys.readouterr().err.split()
    )
    assert RUN(["verify", "--plan", "plan.json", "--channel", "gloo"]) == 0


@pytest.mark.slow
def test_a_run_is_traced_drawn_and_told(profiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", *SMALL, "--stages", "3", "--batches", "6", "--schedule", "1f1b-flush", "--update-every", "3"]
    assert RUN([*arguments, "--channel", "gloo", "--trace", "run.json", "--trace", "run.svg"]) == 0
    printed = capsys.readouterr().out
    assert "1f1b-flush every 3 (synchronous" in printed
    events = json.loads((profiled / "run.json").read_text())["traceEvents"]
    names = {event["name"] for event in events if event["ph"] == "X"}
    assert {"0F0", "2B5", "1U5", "send"} <= names
    assert (profiled / "run.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("package", ["profiler", "optimizer", "runtime"])
def test_help_needs_no_torch(package: str, in_folder: Path) -> None:
    code = (
        f"import sys; sys.argv[1:] = ['--help']; from {package}.cli.main import main\n"
        "try: main()\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=in_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.strip().endswith("False")
    assert f"python -m {package}" in done.stdout


def test_a_folder_for_profiles_that_cannot_be_is_found_before_the_work(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "profiles").write_text("in the way")
    code, line = refusal(OPTIMIZE, [*SMALL], capsys)
    assert code == 2
    assert "cannot write profiles/small_models-Residual-b4-16.json" in line
    assert "work in a folder that you may write to" in line


@pytest.mark.slow
def test_an_interrupted_profile_leaves_nothing(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert PROFILE(["--model", "small_models:presses_ctrl_c", "--image-size", "16"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; nothing is left running"
    assert not list(in_folder.iterdir())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["stageplan", "plan"], "no model is named; add --model resnet50, say"),
        (["optimizer", "--profile", "none.json"], "cannot read none.json: No such file or directory; check the path"),
    ],
)
def test_a_package_is_a_command_that_refuses_with_exit_code_2_and_one_line(
    in_folder: Path, typed: list[str], said: str
) -> None:
    done = subprocess.run([sys.executable, "-m", *typed], cwd=in_folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {said}\n")


@pytest.mark.slow
def test_an_interrupted_study_goes_on_and_a_finished_one_is_not_run_again(
    in_folder: Path, small_profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_profile, in_folder / "profiles")
    (in_folder / "study.yaml").write_text(
        "models: {'small_models:Residual': 5}\nbatch_sizes: [2, 4]\nimage_size: 16\nrepeats: 2\n"
        "partitions: [optimized, front-heavy]\n"
    )
    command = [sys.executable, "-m", "runtime", "compare", "--config", "study.yaml", "--stages", "2"]
    command += ["--out", "found"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    study = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    first = in_folder / "found" / "small_models-Residual-b2-16-s2" / "comparison.json"
    try:
        while not first.is_file() and study.poll() is None:
            time.sleep(0.02)
        os.killpg(study.pid, signal.SIGINT)
        _, said = study.communicate(timeout=30)
    finally:
        study.kill()
        study.wait()
    assert study.returncode == 130, said
    assert said.splitlines()[-1] == "paused, and nothing is left running; to resume, repeat the command without --fresh"
    begun = read_json(first, Comparison)
    assert 1 <= len(begun.runs) < 6
    assert not begun.complete

    arguments = command[3:]
    assert RUN([*arguments, "--quiet"]) == 0
    paths = [first, in_folder / "found" / "small_models-Residual-b4-16-s2" / "comparison.json"]
    found = [read_json(path, Comparison) for path in paths]
    assert found[0].runs[: len(begun.runs)] == begun.runs, "what had run stays"
    assert all(one.complete for one in found)
    orders = [[(run.round, run.name) for run in one.runs] for one in found]
    both = set(orders[0]) & set(orders[1])  # who runs again follows from what was measured
    assert {(1, name) for name in found[0].running} <= both
    kept = [[run for run in order if run in both] for order in orders]
    assert kept[0] == kept[1], "the one that was interrupted is as the one that was not"
    report = (in_folder / "found" / "report.html").read_text()
    assert report.count("<h2>small_models:Residual, batch") == 2

    before = [path.read_bytes() for path in paths]
    capsys.readouterr()
    assert RUN(arguments) == 0
    assert capsys.readouterr().err.count("--fresh measures anew") == 2
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.slow
def test_one_comparison_comes_after_the_other_and_ctrl_c_leaves_the_best_answer_so_far(
    in_folder: Path, small_profile: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_profile, in_folder / "profiles")
    (in_folder / "study.yaml").write_text(
        "models: {'small_models:Residual': 5}\nbatch_sizes: [2, 4]\nimage_size: 16\n"
        "partitions: [optimized, front-heavy]\n"
    )
    attempts: list[tuple[int, int]] = []
    a_round = 4 if len(os.sched_getaffinity(0)) > 1 else 3  # plain PyTorch takes two cores

    def attempt(step: Step, comparison: Comparison, *others: Any) -> RunRecord:
        if len(attempts) > 1 and attempts[-1][0] == 4 and comparison.rounds:
            raise KeyboardInterrupt
        attempts.append((comparison.request.batch_size, step.round))
        return _attempt(step, comparison, *others)

    monkeypatch.setattr("runtime.compare.rounds._attempt", attempt)
    assert RUN(["compare", "--config", "study.yaml", "--stages", "2", "--out", "found"]) == 130
    whole = len(attempts) - a_round
    assert 2 * a_round - 2 <= whole <= 3 * a_round, "of the first at least two rounds"
    assert attempts == [*((2, number) for _, number in attempts[:whole]), *[(4, 1)] * a_round]
    printed = capsys.readouterr()
    assert printed.out.index("batch 2, 2 stages, 1f1b") < printed.out.index("batch 4, 2 stages, 1f1b")
    assert printed.out.count("NOT FIRM: only 1 of 3 rounds are done.") == 1
    assert printed.out.count("batch 2") == printed.out.count("batch 4") == 2, "and who leads"
    plans = [read_json(path, Plan) for path in (in_folder / "found").rglob("fastest-plan.json")]
    assert [len(plan.stages) for plan in plans] == [2, 2]
    report = (in_folder / "found" / "report.html").read_text()
    assert report.count("<h2>small_models:Residual, batch") == 2
