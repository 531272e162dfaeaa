"""Four hosts, one stage each: the same bits as on one machine, and one sentence everywhere whatever befalls a host.

The hosts are network namespaces, so these tests need root; ``make hosts`` runs them.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import torch
from hosts import COUNT, PORT, Hosts, address, four_hosts
from pipelines import SHAPE, plan_of
from places import HELPERS
from processes import forked

from optimizer.cli import main as optimizer_cli
from optimizer.plan import Plan
from profiler.capture import captured_model
from profiler.cli import main as profiler_cli
from profiler.files import from_json, read_json, to_json
from profiler.settings import config as configuration
from runtime.cli import main as cli
from runtime.results import RunResult

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(240)]
TIMEOUT_S = 5.0
CLOSE_S = 0.01
"""So closely the clocks of two hosts on one machine are told to agree."""
NAMES = [f"rank {rank} on h{rank} ({address(rank)})" for rank in range(COUNT)]


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    monkeypatch.syspath_prepend(str(HELPERS))
    monkeypatch.chdir(tmp_path)
    with four_hosts(tmp_path) as found:
        yield found
        assert found.left() == []


def plan_file(folder: Path, model: str, **sizes: object) -> Path:
    """Write a plan for four ranks and made-up times."""
    config = configuration.override(configuration.for_model(model), {"batch_size": 2, **sizes})
    plan = replace(plan_of(captured_model(config), None, COUNT), model=model)
    path = folder / f"{model.rpartition(':')[2]}.json"
    path.write_bytes(to_json(plan))
    return path


@pytest.mark.parametrize("schedule", ["1f1b", "zero-bubble"])
def test_four_hosts_train_bit_for_bit_what_one_machine_trains(
    hosts: Hosts, capsys: pytest.CaptureFixture[str], schedule: str
) -> None:
    plan = plan_file(hosts.folder, "resnet18", image_size=32)
    given = ["verify", "--plan", str(plan), "--batches", "6", "--schedule", schedule, "--json", "--quiet"]
    for host in range(COUNT):
        start = hosts.start_torchrun if schedule == "1f1b" else hosts.start_rank
        start(host, *given)
    (code, out, err), *others = hosts.ended(150)
    assert code == 0, err
    assert [(code, out) for code, out, _ in others] == [(0, "")] * 3
    there = json.loads(out)
    (part,) = there["partitions"]
    assert part["identical"]
    assert part["digests"] == part["replay_digests"]
    if schedule == "1f1b":
        assert cli.main([*given, "--channel", "shm"]) == 0
        here = json.loads(capsys.readouterr().out)
        assert here["partitions"] == there["partitions"]


KILLED = {"rank 0 killed": 0, "launcher killed": 2}


@pytest.mark.parametrize("fate", [*KILLED, "stage killed", "cut off"])
def test_a_host_or_rank_that_is_lost_in_mid_run_is_named_everywhere(hosts: Hosts, fate: str) -> None:
    mark = hosts.folder / "struck"
    lost = KILLED.get(fate, 2)
    plan = plan_file(hosts.folder, "small_models:slow_for_ever", image_size=SHAPE[-1])
    given = ["run", "--plan", str(plan), "--batches", "500", "--rank-timeout", f"{TIMEOUT_S}s"]
    for rank in range(COUNT):
        if fate == "launcher killed":
            hosts.start_torchrun(rank, *given, STRUCK_AT=str(mark))
        else:
            hosts.start_rank(rank, *given, STRUCK_AT=str(mark))
    wait_for_training(mark, hosts)
    struck_s = time.monotonic()
    if fate.startswith("cut off"):
        hosts.cut_off(2)
    else:
        own = psutil.Process(hosts.processes[lost].pid)
        os.kill(forked(own)[0].pid if fate == "stage killed" else own.pid, signal.SIGKILL)
    ended = hosts.ended(60)
    assert time.monotonic() - struck_s < (TIMEOUT_S if fate.startswith("cut off") else 0) + 10
    for rank, (code, out, err) in enumerate(ended):
        if rank == lost and fate in KILLED:
            assert code == -signal.SIGKILL
            continue
        (said,) = [line for line in err.splitlines() if line.startswith("error: ")]
        guilty = 0 if rank == 2 and fate.startswith("cut off") else lost  # which sees only that the first is silent
        assert code == 1
        assert out == ""
        assert said.startswith(f"error: {NAMES[guilty]}: ")


def test_a_rank_that_is_stopped_for_a_while_goes_on_with_the_others(hosts: Hosts) -> None:
    mark = hosts.folder / "struck"
    plan = plan_file(hosts.folder, "small_models:slow_for_ever", image_size=SHAPE[-1])
    for rank in range(COUNT):
        hosts.start_rank(
            rank, "run", "--plan", str(plan), "--batches", "20", "--rank-timeout", "20s", STRUCK_AT=str(mark)
        )
    wait_for_training(mark, hosts)
    stopped = [psutil.Process(hosts.processes[2].pid), *psutil.Process(hosts.processes[2].pid).children(recursive=True)]
    for process in stopped:
        process.suspend()
    time.sleep(4)
    for process in stopped:
        process.resume()
    assert [code for code, _, _ in hosts.ended(90)] == [0] * COUNT


def test_a_store_that_answers_late_is_no_failure_and_hides_none(hosts: Hosts) -> None:
    mark = hosts.folder / "struck"
    plan = plan_file(hosts.folder, "small_models:slow_for_ever", image_size=SHAPE[-1])
    words = [str(PORT + 1), address(0), str(PORT), "0.1"]
    relay = hosts.start(0, [sys.executable, str(HELPERS / "relay.py"), *words])
    for rank in range(COUNT):
        hosts.start_rank(
            rank, "run", "--plan", str(plan), "--batches", "500", "--rank-timeout", f"{TIMEOUT_S}s",
            STRUCK_AT=str(mark), MASTER_PORT=str(PORT if rank == 0 else PORT + 1),
        )  # fmt: skip
    wait_for_training(mark, hosts)
    os.kill(hosts.processes[2].pid, signal.SIGKILL)
    ended = hosts.ended(60)
    relay.kill()
    relay.wait()
    assert [code for code, _, _ in ended] == [1, 1, -signal.SIGKILL, 1]
    (said,) = {line for _, _, err in ended for line in err.splitlines() if line.startswith("error: ")}
    assert said.startswith(f"error: {NAMES[2]}: nothing heard of it for ")


@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_training_that_torchrun_starts_anew_goes_on_from_its_checkpoint(hosts: Hosts, rendezvous: str) -> None:
    plan = plan_file(hosts.folder, "small_models:slow_for_ever", image_size=SHAPE[-1])
    given = ["train", "--plan", str(plan), "--data", "loaders:in_pairs", "--epochs", "6"]
    launch = ["--max-restarts=3"]
    if rendezvous == "c10d":
        launch += ["--rdzv-backend=c10d", f"--rdzv-endpoint={address(0)}:{PORT}", "--rdzv-id=run"]
    kept, saved = hosts.folder / "kept.pt", hosts.folder / "saved.pt"
    for host in range(COUNT):
        hosts.start_torchrun(
            host, *given, "--checkpoint", str(kept), "--save", str(saved), "--rank-timeout", "20s", launch=launch,
            STRUCK_AT=str(hosts.folder / "struck"),
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while not kept.exists():
        assert time.monotonic() < deadline, hosts.said(0)
        time.sleep(0.05)
    launcher = psutil.Process(hosts.processes[2].pid)
    (rank,) = [one for one in launcher.children() if one.cmdline()[1:3] == ["-u", "-m"]]
    rank.kill()
    ended = hosts.ended(120)
    assert [code for code, _, _ in ended] == [0] * COUNT, ended[0][2]
    if rendezvous == "static":  # where a rank's number is its host's
        assert all(f"error: {NAMES[2]}: nothing heard of it for " in err for _, _, err in (*ended[:2], ended[3]))
    assert sum(f"going on from {kept}, after" in " ".join(err.split()) for _, _, err in ended) == 1
    assert cli.main([*given, "--save", str(hosts.folder / "undisturbed.pt"), "--quiet"]) == 0
    states = [torch.load(path, weights_only=True) for path in (saved, hosts.folder / "undisturbed.pt")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


@pytest.mark.parametrize("told", [0, 2])
def test_sigterm_to_one_rank_drains_all_and_a_resumed_run_goes_on(hosts: Hosts, told: int) -> None:
    plan = plan_file(hosts.folder, "small_models:Residual", image_size=SHAPE[-1])
    kept, saved = hosts.folder / "kept.pt", hosts.folder / "saved.pt"
    given = ["train", "--plan", str(plan), "--data", "loaders:in_pairs", "--schedule", "1f1b-flush"]
    given += ["--update-every", "1"]
    for host in range(COUNT):
        hosts.start_rank(host, *given, "--epochs", "100000", "--checkpoint", str(kept))
    deadline = time.monotonic() + 60
    while not kept.exists():
        assert time.monotonic() < deadline, hosts.said(0)
        time.sleep(0.05)
    hosts.processes[told].terminate()
    ended = hosts.ended(60)
    assert [code for code, _, _ in ended] == [143] * COUNT, ended
    assert all(f"{kept} has all of it: to go on, repeat the command with --resume" in err for _, _, err in ended)
    assert not any("error" in err for _, _, err in ended)
    epochs = str(torch.load(kept, weights_only=True)["epoch"] + 2)
    for host in range(COUNT):
        hosts.start_rank(host, *given, "--epochs", epochs, "--resume", str(kept), "--save", str(saved))
    assert [code for code, _, _ in hosts.ended(120)] == [0] * COUNT, hosts.said(0)
    other = hosts.folder / "undisturbed.pt"
    assert cli.main([*given, "--epochs", epochs, "--save", str(other), "--quiet"]) == 0
    states = [torch.load(path, weights_only=True) for path in (saved, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def wait_for_training(mark: Path, hosts: Hosts) -> None:
    seen: set[str] = set()
    deadline = time.monotonic() + 90
    while len(seen) < 8:  # a warm-up has fewer
        assert time.monotonic() < deadline, hosts.said(0)
        if mark.exists():
            seen.add(mark.read_text())
        time.sleep(0.02)


def test_a_plan_for_a_slow_network_is_faster_over_it_than_one_that_knows_nothing_of_it(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.limit("100mbit")
    text = "model: small_models:NarrowPlace\nbatch_size: 8\nimage_size: 32\nlr: 0.0001\n"
    (hosts.folder / "narrow.yaml").write_text(text)
    model = ["--config", "narrow.yaml"]
    cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
    assert profiler_cli.main([*model, "--budget", "5s", "--quiet", "-o", "profile.json"]) == 0
    plans = {}
    for name, link in (("blind", []), ("aware", ["--link", "100,0.2"])):
        given = ["--profile", "profile.json", "--quiet", "--batches", "30", *link, "-o", f"{name}.json"]
        assert optimizer_cli.main(given) == 0
        plans[name] = read_json(hosts.folder / f"{name}.json", Plan)
    assert plans["aware"].cuts != plans["blind"].cuts
    assert plans["aware"].stages[1].send_bytes < plans["blind"].stages[1].send_bytes
    capsys.readouterr()
    measured = {}
    for name in plans:
        for rank in range(COUNT):
            own = cores[rank % len(cores)]
            given = ["run", "--plan", f"{name}.json", *model, "--batches", "30", "--cores", own, "--json"]
            hosts.start_rank(rank, *given)
        (code, out, err), *_ = hosts.ended(100)
        assert code == 0, err
        measured[name] = from_json(out.encode(), RunResult, "stdout")
    assert measured["aware"].throughput_samples_per_s > 1.2 * measured["blind"].throughput_samples_per_s
    result = measured["aware"]
    assert [stage.host for stage in result.stages] == [f"h{rank}" for rank in range(COUNT)]
    for before, after in pairwise(result.stages):  # on one clock, nothing arrives before it was sent
        sent = {one.minibatch: one.computed_s for one in before.actions if one.kind == "F"}
        assert all(one.start_s >= sent[one.minibatch] - CLOSE_S for one in after.actions if one.kind == "F")
