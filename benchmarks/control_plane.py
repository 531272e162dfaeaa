"""What ranks cost beside the pipeline: how soon they meet, what watching takes, how soon a lost one is named.

    python benchmarks/control_plane.py --ranks 2 4 16 --idle 600 --plan plan.json

All ranks are processes of this machine, started as an execution of torch's kind would, without torchrun. A rank that is
idle has met the others and does nothing but watch; the time of rank 0 has that of the store in it. ``--plan`` is of
four stages: it is run for long, and struck. A time until named is from the signal to the moment when the last of the
other ranks has said so; medians of three.
"""

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from ports import reserved_port
from processes import forked

from runtime.hosts import joined

FATES = ("stage killed", "rank killed", "rank 0 killed", "rank stopped")
TIMEOUT_S, ROUNDS = 5.0, 3


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 16])
    parser.add_argument("--idle", type=float, default=60.0, metavar="S")
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(rank_line(options.one))
        return
    print("| ranks | met after, s (slowest rank) | idle, % of a core a rank: rank 0 | others, median | most |")
    print("|---:|---:|---:|---:|---:|")
    for ranks in options.ranks:
        print(idle_line(ranks, options.idle), flush=True)
    if options.plan:
        print("\n| fault | seconds until all others have named it | said |\n|---|---:|---|")
        for fate in FATES:
            print(fault_line(fate, options.plan), flush=True)


def rank_line(idle_s: float) -> str:
    """Be a rank that idles; return how long the meeting took, and what idling took."""
    start = time.perf_counter()
    with joined(60.0, None) as session:
        session.exchange(None, type(None))
        met_s, before = time.perf_counter() - start, used_s()
        until = time.perf_counter() + idle_s
        while time.perf_counter() < until:
            session.look()
            time.sleep(0.25)
        return f"{met_s} {(used_s() - before) / idle_s}"


def used_s() -> float:
    """Return the processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def idle_line(ranks: int, idle_s: float) -> str:
    """Let ranks idle together, and return the line of the table."""
    with reserved_port() as port:
        started = [
            subprocess.Popen(
                [sys.executable, __file__, "--one", str(idle_s)], env=environment, stdout=subprocess.PIPE, text=True
            )
            for environment in environments(ranks, port)
        ]
        found = [list(map(float, process.communicate()[0].split())) for process in started]
    shares = [share * 100 for _, share in found]
    others = shares[1:]
    return (
        f"| {ranks} | {max(met_s for met_s, _ in found):.2f} | {shares[0]:.2f} | {statistics.median(others):.2f} | "
        f"{max(others):.2f} |"
    )


def environments(ranks: int, port: int) -> list[dict[str, str]]:
    """Return what an execution would set for each rank."""
    common = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def fault_line(fate: str, plan: Path) -> str:
    """Strike a run a few times, and return the line of the table."""
    found = [struck(fate, plan) for _ in range(ROUNDS)]
    times_s, (said, *_) = sorted(seconds for seconds, _ in found), [sentence for _, sentence in found]
    return f"| {fate} | {statistics.median(times_s):.2f} ({times_s[0]:.2f}-{times_s[-1]:.2f}) | {said} |"


def struck(fate: str, plan: Path) -> tuple[float, str]:
    """Strike one run; return how long it took until all others had said so, and what the last one said."""
    struck_rank = 0 if fate == "rank 0 killed" else 2
    command = [sys.executable, "-m", "runtime", "run", "--plan", str(plan), "--batches", "1000"]
    with tempfile.TemporaryDirectory() as folder, reserved_port() as port:
        said = [Path(folder) / f"{rank}.err" for rank in range(4)]
        ranks = [
            subprocess.Popen(
                [*command, "--rank-timeout", f"{TIMEOUT_S}s"], env=environment, stderr=path.open("w"),
                stdout=subprocess.DEVNULL,
            )
            for path, environment in zip(said, environments(4, port), strict=True)
        ]  # fmt: skip
        wait_until_busy(ranks)
        process = psutil.Process(ranks[struck_rank].pid)
        stage = forked(process)[0]
        start = time.perf_counter()
        os.kill(
            stage.pid if fate == "stage killed" else process.pid,
            signal.SIGSTOP if fate == "rank stopped" else signal.SIGKILL,
        )
        others = [path for rank, path in enumerate(said) if rank != struck_rank]
        while not all("error: " in path.read_text() for path in others):
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        for one in ranks:
            one.send_signal(signal.SIGCONT)
            one.wait()
        return seconds, others[-1].read_text().partition("error: ")[2].partition("\n")[0]


def wait_until_busy(ranks: list[subprocess.Popen[bytes]]) -> None:
    """Wait until every rank's stage has worked for some seconds."""
    while True:
        stages = [stage for rank in ranks for stage in forked(psutil.Process(rank.pid)) if stage.cpu_times().user > 4]
        if len(stages) == len(ranks):
            return
        time.sleep(0.2)


if __name__ == "__main__":
    main()
