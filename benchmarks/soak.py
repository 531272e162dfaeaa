"""Train for an hour while something goes wrong every few minutes; then hold it against training that nobody disturbed.

    python benchmarks/soak.py --minutes 60

Two stages train a small network under ``1f1b-flush``, whose updates no pause changes, with a checkpoint every so many
minibatches. Faults come in turn: a stage is stopped for a while and goes on, a stage's core is busy with something
else, the disk is full for a while (as root, who can give it a small disk of its own), Ctrl-C, SIGTERM, a stage is
killed, the loader hangs, a stage is stopped for good. Whatever ends the run, it is started again with ``--resume``.
Beside it the same training runs undisturbed; when the time is over both are
interrupted, and have to have had the same losses, bit for bit. Memory is the resident size of all processes of an
attempt, and descriptors are theirs, early in the longest attempt and at its end. After each attempt, what is left of it
is looked for: processes, shared memory, unfinished files.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from processes import forked

SHAPE, CLASSES, BATCH = (3, 24, 24), 10, 16
MINIBATCHES, EPOCHS = 200, 100_000
"""Of an epoch, and more of them than there is time for."""
EVERY, FLUSH_EVERY = 40, 4
STALL_S, PAUSE_S, QUIET_S = 20, 6, 45
"""A stage counts as hung after the first; a disturbance lasts for the second; after the third an attempt is warm."""
HANG, FILLER, DISK = "hang", "filler", "64m"


def network() -> nn.Module:
    """Return the network that is trained."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 36, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, CLASSES),
    )  # fmt: skip


class Hanging:
    """A loader that hangs as long as a file of the name ``HANG`` is in the folder."""

    def __init__(self, loader: "torch.utils.data.DataLoader[tuple[Tensor, ...]]") -> None:
        """Yield what ``loader`` does."""
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for minibatch in self.loader:
            while Path(HANG).exists():
                time.sleep(0.1)
            yield minibatch


def samples() -> Hanging:
    """Return shuffled samples, the same in every process."""
    drawn = torch.Generator().manual_seed(1)
    count = BATCH * MINIBATCHES
    inputs, labels = torch.randn(count, *SHAPE, generator=drawn), torch.randint(CLASSES, (count,), generator=drawn)
    data = torch.utils.data.TensorDataset(inputs, labels)
    return Hanging(torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True))


RUNTIME = (sys.executable, "-m", "runtime")


@dataclass
class Attempt:
    """One start of the command.

    Attributes:
        fault: What ended it; nothing where it came to its end.
        code: The exit code.
        said: What it said went wrong.
        named_s: From the fault until the command was over.
        sizes: Seconds since its start, bytes and descriptors of all its processes.
    """

    fault: str = ""
    code: int = 0
    said: str = ""
    named_s: float = 0.0
    sizes: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it was watched."""
        return self.sizes[-1][0] if self.sizes else 0.0


def main() -> None:
    """Print what happened, fault by fault, and whether the losses are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--between", type=float, default=120.0, metavar="S", help="from one fault to the next")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job of the background ignores
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        planned(folder)
        until_s = time.monotonic() + 60 * options.minutes
        alone = started(folder / "undisturbed", resume=False)
        try:
            with small_disk(folder / "disturbed"):
                attempts = list(disturbed(folder / "disturbed", options.between, until_s))
                same = compared(folder / "undisturbed", folder / "disturbed", alone)
        finally:
            if alone.poll() is None:
                press_ctrl_c(alone)
        report(attempts)
        if not same:
            raise SystemExit(1)


def command(folder: Path, *, resume: bool, stall_s: float) -> list[str]:
    """Return the command that trains in a folder."""
    place = folder / "run.ckpt"
    return [
        *RUNTIME, "train", "--plan", str(folder.parent / "plan.json"), "--data", "soak:samples",
        "--schedule", "1f1b-flush", "--update-every", str(FLUSH_EVERY), "--epochs", str(EPOCHS),
        "--checkpoint", str(place), "--every", str(EVERY), "--log", str(folder / "run.jsonl"),
        "--stall-timeout", f"{stall_s}s", "--quiet",
        *(["--resume", str(place)] if resume else []),
    ]  # fmt: skip


def started(folder: Path, *, resume: bool, stall_s: float = STALL_S) -> "subprocess.Popen[bytes]":
    """Start the command; what it says is for who waits for it."""
    folder.mkdir(exist_ok=True)
    words = command(folder, resume=resume, stall_s=stall_s)
    return subprocess.Popen(words, cwd=folder, env=environment(), stderr=subprocess.PIPE)


def lines_of(process: "subprocess.Popen[bytes]") -> list[str]:
    """Return what a command that is over said."""
    assert process.stderr
    return process.stderr.read().decode().splitlines()


def complaint(lines: list[str]) -> str:
    """Return what a command said went wrong, without the remedy."""
    told = [line for line in lines if line.startswith("error: ")] or lines[-1:] or [""]
    warned = next((f"{line.partition(';')[0]}; then: " for line in lines if "training goes on" in line), "")
    return warned + told[0].removeprefix("error: ").partition(";")[0]


def environment() -> dict[str, str]:
    """Return one in which this file, and the packages beside it, can be imported from any folder."""
    here = Path(__file__).parent
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (here, here.parent)))}


def planned(folder: Path) -> None:
    """Profile and plan, once for both."""
    shape = ",".join(map(str, SHAPE))
    subprocess.run(
        [sys.executable, "-m", "optimizer", "--model", "soak:network", "--sample-shape", shape,
         "--batch-size", str(BATCH), "--stages", "2", "--slice", "none", "--quiet", "-o", "plan.json"],
        cwd=folder, env=environment(), check=True,
    )  # fmt: skip


def disturbed(folder: Path, between_s: float, until_s: float) -> Iterator[Attempt]:
    """Train, disturb, and start anew until the time is over."""
    number = 0
    while True:
        process = started(folder, resume=(folder / "run.ckpt").exists())
        attempt = Attempt()
        number = watched(process, attempt, number, between_s, until_s)
        attempt.code = process.returncode
        attempt.said = complaint(lines_of(process))
        if left := leftovers(folder):
            raise SystemExit(f"left behind: {', '.join(left)}")
        print(f"# attempt: {attempt.fault or 'time is over'}, exit {attempt.code}, {attempt.seconds:.0f} s", flush=True)
        yield attempt
        if time.monotonic() > until_s:
            return


def watched(process: "subprocess.Popen[bytes]", attempt: Attempt, number: int, between_s: float, until_s: float) -> int:
    """Watch one attempt and strike it in turn, until the time is over; return the number of the next fault."""
    start, due = time.monotonic(), between_s
    while process.poll() is None:
        since = time.monotonic() - start
        if since > QUIET_S:
            attempt.sizes.append((since, *size_of(process.pid)))
        if since > due:
            name, strike = FAULTS[number % len(FAULTS)]
            number, due = number + 1, since + between_s
            struck = time.monotonic()
            print(f"# {since:.0f} s into it: {name}", flush=True)
            strike(process)
            if process.poll() is not None:
                attempt.fault, attempt.named_s = name, time.monotonic() - struck
        if time.monotonic() > until_s:
            press_ctrl_c(process)
        time.sleep(2)
    return number


def size_of(pid: int) -> tuple[int, int]:
    """Return the resident bytes and the descriptors of a process and its children."""
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return sum(one.memory_info().rss for one in processes), sum(one.num_fds() for one in processes)
    except psutil.NoSuchProcess:
        return 0, 0


def stage_of(process: "subprocess.Popen[bytes]") -> psutil.Process:
    """Return the process of the last stage."""
    return forked(psutil.Process(process.pid))[-1]


def stop_for_a_while(process: "subprocess.Popen[bytes]") -> None:
    """Stop a stage, and let it go on."""
    stage = stage_of(process)
    stage.suspend()
    time.sleep(PAUSE_S)
    stage.resume()


def keep_the_core_busy(process: "subprocess.Popen[bytes]") -> None:
    """Let something else work on a stage's core."""
    cores = stage_of(process).cpu_affinity()
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    psutil.Process(other.pid).cpu_affinity(cores)
    time.sleep(PAUSE_S)
    other.kill()
    other.wait()


def press_ctrl_c(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt the command as the terminal does."""
    process.send_signal(signal.SIGINT)
    process.wait()


def kill_a_stage(process: "subprocess.Popen[bytes]") -> None:
    """Kill a stage."""
    stage_of(process).kill()
    process.wait()


def sigterm(process: "subprocess.Popen[bytes]") -> None:
    """Tell the command to end, as a batch system does."""
    process.terminate()
    process.wait()


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Give the folder a disk of its own, where that can be."""
    folder.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", f"size={DISK}", "soak", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    try:
        yield
    finally:
        if mounted.returncode == 0:
            subprocess.run(["/bin/umount", str(folder)], check=True)


def fill_the_disk(process: "subprocess.Popen[bytes]", *, for_good: bool = False) -> None:
    """Leave no room for a checkpoint, where the folder has a disk of its own, and then make room."""
    folder = Path(psutil.Process(process.pid).cwd())
    if not folder.is_mount():
        return
    with suppress(OSError), (folder / FILLER).open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1 << 16))
    if not for_good:
        time.sleep(PAUSE_S)
        (folder / FILLER).unlink()


def hang_the_loader(process: "subprocess.Popen[bytes]") -> None:
    """Let the loader hang until the command has ended."""
    file = Path(psutil.Process(process.pid).cwd()) / HANG
    file.touch()
    process.wait()
    file.unlink()


def stop_for_good(process: "subprocess.Popen[bytes]") -> None:
    """Stop a stage, which counts as hung after the stall timeout."""
    stage_of(process).suspend()
    process.wait()


FAULTS: list[tuple[str, Callable[["subprocess.Popen[bytes]"], None]]] = [
    ("a stage stopped for a while", stop_for_a_while),
    ("a stage's core busy", keep_the_core_busy),
    ("the disk full for a while", fill_the_disk),
    ("Ctrl-C", press_ctrl_c),
    ("SIGTERM", sigterm),
    ("a stage killed", kill_a_stage),
    ("the loader hangs", hang_the_loader),
    ("a stage stopped for good", stop_for_good),
]


def leftovers(folder: Path) -> list[str]:
    """Return what an attempt has left behind: unfinished files, shared memory, processes."""
    time.sleep(1)
    left = [*map(str, folder.glob(".*.writing")), *map(str, Path("/dev/shm").glob("stageplan*"))]  # noqa: S108
    for one in psutil.process_iter(["cmdline"]):
        words = " ".join(one.info["cmdline"] or ())
        if str(folder) in words and one.pid != psutil.Process().pid:
            left.append(words[:80])
    return left


def report(attempts: list[Attempt]) -> None:
    """Print a line for each attempt, and how memory and descriptors went in the longest."""
    print("\n| what ended it | exit code | over after, s | said |\n|---|---:|---:|---|")
    for attempt in attempts:
        print(f"| {attempt.fault or 'nothing'} | {attempt.code} | {attempt.named_s:.1f} | {attempt.said} |")
    longest = max(attempts, key=lambda attempt: attempt.seconds)
    tenth = len(longest.sizes) // 10
    if not tenth:
        return
    print("\n| of the longest attempt | early | at its end | change |\n|---|---:|---:|---:|")
    for name, at, unit in (("resident MiB", 1, 2**20), ("descriptors", 2, 1)):
        early, late = (
            statistics.median(row[at] for row in rows) / unit
            for rows in (longest.sizes[:tenth], longest.sizes[-tenth - 1 : -1])
        )
        print(f"| {name}, {longest.seconds / 60:.0f} minutes | {early:.1f} | {late:.1f} | {late / early - 1:+.2%} |")


def compared(alone: Path, struck: Path, process: "subprocess.Popen[bytes]") -> bool:
    """End the undisturbed training; say whether both have the same losses, bit for bit, as far as both have come."""
    press_ctrl_c(process)
    both = [losses_of(folder / "run.jsonl") for folder in (alone, struck)]
    common = both[0].keys() & both[1].keys()
    others = sorted(key for key in common if both[0][key] != both[1][key])
    where = f"NOT THE SAME in {len(others)} of them, the first in epoch {{}} at minibatch {{}}"
    said = where.format(*others[0]) if others else "bit-identical"
    print(f"\n{len(common)} minibatches in both; their losses are {said}")
    return bool(common) and not others


def losses_of(log: Path) -> dict[tuple[int, int], float]:
    """Return the loss of each minibatch; of one that was trained on again after a fault, the last."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return {(line["epoch"], line["minibatch"]): line["loss"] for line in lines if "minibatch" in line}


if __name__ == "__main__":
    main()
