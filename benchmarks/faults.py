"""How soon each fault of a stage is named, and what is left then: every fault under every channel and schedule.

    python benchmarks/faults.py

Three stages train a small network; the middle one fails at a call of its forward or backward, or the first one in an
update, whose time is that of the backward before it. Seconds are from the fault until the run is over and its error is
there; of a stage that is stopped, from the stall timeout on. The shortest of the sentences that were said is shown. A
control group is the kernel's: in one that runs out of memory, the kernel kills the stage. Left are stages' processes,
shared memory, ports.

Then what befalls ``python -m runtime train``, as in ``soak.py``: SIGTERM, a loader that hangs, a disk that is full when
SIGTERM comes (as root, who can make a small one), a stage that is stopped. Lost is what was trained and is in no
checkpoint.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

import small_models
import soak
from control_group import small_group
from pipelines import RULE, SEED, captured_of, plan_of
from processes import forked, servers
from strategies import profile_of

from optimizer.plan import Plan
from optimizer.planning import Planner
from optimizer.schedule import SCHEDULES, ScheduleName, pace_of
from profiler.capture.layer_graph import capture
from profiler.execution import Captured
from runtime.errors import RunError
from runtime.pipeline import Execution
from runtime.results import CHANNELS, ChannelName
from runtime.supervisor import WorkerPool
from runtime.worker import Settings

MINIBATCHES, AFTER, STALL_S = 40, 20, 3.0
BOUNDS = (0, 0b00011, 0b01111, 0b11111)
FAULTS = [
    *(f"{how} {at}" for how in ("raise", "memory", "exit", "crash", "kill", "stop") for at in ("forward", "backward")),
    "group forward",
    "orphan forward",
    "raise update",
]
WORDS = {
    "raise": "raises",
    "memory": "asks for more memory than there is",
    "exit": "exits",
    "crash": "crashes (SIGSEGV)",
    "kill": "is killed (SIGKILL)",
    "stop": "is stopped (SIGSTOP)",
    "group": "runs out of its control group's memory",
    "orphan": "loses the forkserver that it was forked from (SIGKILL)",
}


def main() -> None:
    """Print a line for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", nargs="+", default=list(SCHEDULES), choices=list(SCHEDULES))
    parser.add_argument("--channels", nargs="+", default=list(CHANNELS), choices=CHANNELS)
    parser.add_argument("--endless", choices=CHANNELS, help="be the parent of a run that goes on until it is killed")
    options = parser.parse_args()
    if options.endless:
        struck("slow forward", options.endless, "1f1b", Path(os.environ["STRUCK_AT"]))
        return
    print("| a stage | runs | s until named: median | most | left | said |\n|---|---:|---:|---:|---|---|")
    with small_group() as group:
        os.environ["CONTROL_GROUP"] = str(group)
        for fault in FAULTS:
            if not fault.startswith("group") or group:
                print(line(fault, options.channels, options.schedules), flush=True)
    for signals in ((signal.SIGKILL,), (signal.SIGSTOP, signal.SIGKILL)):
        print(parent_line(options.channels, signals), flush=True)
    print("\n| while it trains | s until over | exit code | minibatches kept | lost | left | said |")
    print("|---|---:|---:|---:|---:|---|---|")
    for name, strike in TRAINING:
        print(training_line(name, strike), flush=True)


def line(fault: str, channels: list[ChannelName], schedules: list[ScheduleName]) -> str:
    """Let a fault happen under every channel and schedule; return the line of the table."""
    times_s: list[float] = []
    left, said, runs = set[str](), set[str](), 0
    for channel in channels:
        for schedule in schedules:
            seconds, rest, sentence = struck(fault, channel, schedule)
            times_s += [] if seconds is None else [seconds]
            left |= rest
            said.add(sentence)
            runs += 1
    how, phase = fault.split()
    seconds_text = f"{statistics.median(times_s):.2f} | {max(times_s):.2f}" if times_s else "– | –"
    return (
        f"| {WORDS[how]} in {phase} | {runs} | {seconds_text} | {', '.join(sorted(left)) or 'nothing'} | "
        f"{min(said, key=len)[:110]} |"
    )


def parent_line(channels: list[ChannelName], signals: tuple[signal.Signals, ...]) -> str:
    """Kill the parent of a run under each channel; return the line of the table: when all it had started was gone."""
    times_s: list[float] = []
    left: set[str] = set()
    for channel in channels:
        with tempfile.TemporaryDirectory() as folder:
            mark = Path(folder) / "struck"
            command = [sys.executable, __file__, "--endless", channel]
            parent = subprocess.Popen(command, env=os.environ | {"STRUCK_AT": str(mark)}, stderr=subprocess.DEVNULL)
            while not mark.exists():
                time.sleep(0.01)
            ours = psutil.Process(parent.pid)
            started, before = [*servers(ours), *forked(ours)], time.perf_counter()
            for number in signals:
                parent.send_signal(number)
            parent.wait()
            _, alive = psutil.wait_procs(started, timeout=10)
            times_s.append(time.perf_counter() - before)
            left |= {f"process {process.pid}" for process in alive}
    how = " and ".join(number.name for number in signals)
    return (
        f"| parent gets {how} | {len(times_s)} | {statistics.median(times_s):.2f} | {max(times_s):.2f} | "
        f"{', '.join(sorted(left)) or 'nothing'} | (nobody is left to say it) |"
    )


def fill_the_disk_and_end(process: "subprocess.Popen[bytes]") -> None:
    """Leave no room for a checkpoint, and tell the command to end."""
    soak.fill_the_disk(process, for_good=True)
    soak.sigterm(process)


TRAINING: list[tuple[str, Callable[["subprocess.Popen[bytes]"], None]]] = [
    ("SIGTERM", soak.sigterm),
    ("the loader hangs", soak.hang_the_loader),
    ("the disk is full, then SIGTERM", fill_the_disk_and_end),
    ("a stage is stopped (SIGSTOP)", soak.stop_for_good),
]


def training_line(name: str, strike: Callable[["subprocess.Popen[bytes]"], None]) -> str:
    """Let something befall a training once it has written a checkpoint; return the line of the table."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        soak.planned(folder.parent)
        with soak.small_disk(folder):
            process = soak.started(folder, resume=False, stall_s=STALL_S)
            while not (folder / "run.ckpt").exists():
                time.sleep(0.01)
            time.sleep(1.0)
            before = time.perf_counter()
            strike(process)
            seconds, lines = time.perf_counter() - before, soak.lines_of(process)
            trained = len(soak.losses_of(folder / "run.jsonl"))
            words = " ".join(lines).replace(";", " ").split()
            files = {folder / "run.ckpt", *(Path(word) for word in words if word.endswith("/run.ckpt"))}
            kept = max(torch.load(path, weights_only=True)["minibatches"] for path in files)
            for elsewhere in (path for path in files if path.parent != folder):
                shutil.rmtree(elsewhere.parent)
            left = soak.leftovers(folder)
        said = soak.complaint(lines).replace(str(folder), "…")
    return (
        f"| {name} | {seconds:.1f} | {process.returncode} | {kept} | {max(0, trained - kept)} | "
        f"{', '.join(left) or 'nothing'} | {said[:160]} |"
    )


def network_of(fault: str) -> tuple[Captured, Plan]:
    """Return a network with a fault, and its plan in three stages."""
    if not fault.endswith("update"):
        captured = captured_of(lambda: small_models.Failing(fault, AFTER))
        return captured, plan_of(captured, BOUNDS, stages=3)
    captured = capture(small_models.SparseGradient().train(), "sparse", torch.zeros(4, 4, dtype=torch.int64))
    plan = Planner(profile_of(captured, seed=5), 3, MINIBATCHES).unlimited("chosen", (0, 0b0011, 0b0111, 0b1111))
    return captured, replace(plan, model_digest=captured.digest, input_shape=(4, 4), batch_size=4, vocabulary=10)


def struck(
    fault: str, channel: ChannelName, schedule: ScheduleName, at: Path | None = None
) -> tuple[float | None, set[str], str]:
    """Let it happen once; return the seconds until it was named, what was left, and what was said.

    Args:
        fault: Which.
        channel: How stages hand tensors on.
        schedule: The order of their actions.
        at: Where the stage that fails notes when.
    """
    captured, plan = network_of(fault)
    settings = Settings(rule=RULE, seed=SEED, channel=channel, pace=pace_of(schedule, 3), vocabulary=plan.vocabulary)
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        mark = at or Path(folder) / "struck"
        os.environ["STRUCK_AT"] = str(mark)
        before, sentence = things(), "NOT NAMED"
        try:
            with (
                WorkerPool([cores[stage % len(cores)] for stage in range(3)], stall_timeout_s=STALL_S) as pool,
                Execution(captured, pool, settings) as execution,
            ):
                execution.run(plan, MINIBATCHES)
        except RunError as error:
            said = str(error).partition(";")[0]
            sentence = said.partition(" failed in ")[2] or said
        now = time.perf_counter()
        stalled = STALL_S if fault.startswith("stop") else 0.0
        seconds = now - float(mark.read_text()) - stalled if mark.exists() else None
        return seconds, things() - before, sentence


def things() -> set[str]:
    """Return what could be left: stages' processes, shared memory, ports."""
    found = {f"process {process.pid}" for process in forked(psutil.Process())}
    found |= {f"shared memory {name}" for name in os.listdir("/dev/shm")}  # noqa: PTH208, S108
    listening = psutil.Process().net_connections(kind="inet")
    return found | {f"port {one.laddr.port}" for one in listening if one.status == psutil.CONN_LISTEN}


if __name__ == "__main__":
    main()
