"""Run a million minibatches of a small network, and see what the run keeps: its memory meanwhile, and its files.

    python benchmarks/long_run.py --minibatches 1000000

Two stages train a network whose minibatch takes a fraction of a millisecond, on synthetic data. Resident memory is that
of all processes of the command, medians over the first and the last tenth of the time in which all of them are there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from torch import nn

STAGES, BATCH, QUIET_S, EVERY_S = 2, 4, 10, 1


def network() -> nn.Module:
    """Return the network that runs."""
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10))


def main() -> None:
    """Plan, run, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minibatches", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = ["--sample-shape", "3,4,4", "--batch-size", str(BATCH), "--stages", str(STAGES)]
        planned_s = timed("optimizer", "--model", "long_run:network", *sizes, "--quiet", folder=folder)
        long = ["--batches", str(options.minibatches)]
        again_s = timed(
            "optimizer", "--model", "long_run:network", *sizes, *long, "--quiet", "-o", "plan.json", folder=folder
        )
        resident, run_s = watched(folder, long)
        result = json.loads((folder / "run.json").read_text())
        tenth = max(1, len(resident) // 10)
        early, late = (statistics.median(part) / 2**20 for part in (resident[:tenth], resident[-tenth:]))
        print("| of the run | |\n|---|---:|")
        rows: list[tuple[str, str]] = [
            ("minibatches", f"{result['minibatches']:,}"),
            ("of these recorded one by one", f"{result['recorded_minibatches']:,}"),
            ("profile and plan for 12, s", f"{planned_s:.1f}"),
            ("plan for all from that profile, s", f"{again_s:.1f}"),
            ("run and write everything, s", f"{run_s:.0f}"),
            ("resident MiB, early", f"{early:.1f}"),
            ("resident MiB, at the end", f"{late:.1f} ({late / early - 1:+.2%})"),
            *((f"{file}, MB", f"{(folder / file).stat().st_size / 1e6:.1f}") for file in ("run.json", "trace.json")),
            ("loss of the first and of the last", f"{result['losses'][0]:.4f}, {result['last_loss']:.4f}"),
        ]
        for row in rows:
            print(f"| {' | '.join(row)} |")


def watched(folder: Path, long: list[str]) -> tuple[list[int], float]:
    """Run the plan; return the resident bytes second by second, and how long it took."""
    command = ["run", "--plan", "plan.json", *long, "-o", "run.json", "--trace", "trace.json", "--quiet"]
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "runtime", *command], cwd=folder, env=environment())
    resident: list[tuple[int, int]] = []
    while process.poll() is None:
        time.sleep(EVERY_S)
        if time.monotonic() - start > QUIET_S:
            resident.append(processes_of(process.pid))
    if process.returncode:
        raise SystemExit(process.returncode)
    whole = max(count for count, _ in resident)
    return [own for count, own in resident if count == whole], time.monotonic() - start


def processes_of(pid: int) -> tuple[int, int]:
    """Return how many processes a command has, and their resident bytes."""
    try:
        own = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return len(own), sum(one.memory_info().rss for one in own)
    except psutil.NoSuchProcess:
        return 0, 0


def timed(*command: str, folder: Path) -> float:
    """Run a command to its end and return the seconds."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", *command], cwd=folder, env=environment(), check=True)
    return time.monotonic() - start


def environment() -> dict[str, str]:
    """Return one in which this file, and the packages beside it, can be imported from any folder."""
    here = Path(__file__).parent
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (here, here.parent)))}


if __name__ == "__main__":
    main()
