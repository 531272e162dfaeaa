"""Hosts made of network namespaces on this machine: each has its own network, address and name.

All hang on one bridge. Between hosts 1 and 2 there is a cable of its own.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from places import CHECKOUT, HELPERS

COUNT = 4
PORT = 29511
_RUN = f"sgp{os.getpid() % 10000}"


@dataclass
class Hosts:
    """Four hosts; ``processes`` are those that were started, for each host its last."""

    folder: Path
    processes: dict[int, subprocess.Popen[str]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def start(
        self, host: int, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command on a host; its output goes to files, for a pipe that nobody reads would hold it up."""
        name = self.names[host] = f"{host}-{len(list(self.folder.glob('*.out')))}"
        known = self.folder / "etc-hosts"
        known.write_text("127.0.0.1 localhost\n" + "".join(f"{address(one)} h{one}\n" for one in range(COUNT)))
        begin = f'hostname h{host}; mount --bind {known} /etc/hosts; exec "$@"'
        with (self.folder / f"{name}.out").open("w") as out, (self.folder / f"{name}.err").open("w") as err:
            process = subprocess.Popen(
                ["ip", "netns", "exec", _name(host), "unshare", "--uts", "--mount", "sh", "-c", begin, "sh", *command],
                cwd=self.folder, stdout=out, stderr=err, text=True, start_new_session=True,
                env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{HELPERS}", "OMP_NUM_THREADS": "1",
                     "TMPDIR": str(self.folder), **(environment or {})},
            )  # fmt: skip
        self.processes[host] = process
        return process

    def start_rank(self, rank: int, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``python -m runtime`` as a rank, a rank a host, as a launcher of torch's kind would."""
        place = {
            "RANK": str(rank), "WORLD_SIZE": str(COUNT), "LOCAL_RANK": "0", "MASTER_ADDR": address(0),
            "MASTER_PORT": str(PORT),
        }  # fmt: skip
        return self.start(rank, [sys.executable, "-m", "runtime", *command], place | environment)

    def start_torchrun(
        self, host: int, *command: str, launch: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[str]:
        """Start ``torchrun -m runtime`` on a host; ``launch`` are more options of torchrun."""
        return self.start(
            host,
            [sys.executable, "-m", "torch.distributed.run", f"--nnodes={COUNT}", "--nproc-per-node=1",
             f"--node-rank={host}", f"--master-addr={address(0)}", f"--master-port={PORT}",
             f"--local-addr={address(host)}", *launch, "-m", "runtime", *command],
            environment,
        )  # fmt: skip

    def ended(self, timeout_s: float) -> list[tuple[int, str, str]]:
        """Wait for the last process of every host; return exit code, stdout and stderr of each."""
        deadline = time.monotonic() + timeout_s
        found = []
        for host in sorted(self.processes):
            process = self.processes[host]
            process.wait(max(0.1, deadline - time.monotonic()))
            out, err = ((self.folder / f"{self.names[host]}.{kind}").read_text() for kind in ("out", "err"))
            found.append((process.returncode, out, err))
        return found

    def said(self, host: int) -> str:
        """Return what the last process of a host has written to stderr so far."""
        return (self.folder / f"{self.names[host]}.err").read_text()

    def cut_off(self, host: int) -> None:
        """Take a host off the network."""
        for link in ("eth0", "cable"):
            with contextlib.suppress(subprocess.CalledProcessError):
                _on(host, "ip", "link", "set", link, "down")

    def limit(self, rate: str) -> None:
        """Limit every wire, in both directions."""
        bucket = ("tbf", "rate", rate, "burst", "64kb", "latency", "2s")
        for host, wire in [*((host, "eth0") for host in range(COUNT)), (1, "cable"), (2, "cable")]:
            _on(host, "tc", "qdisc", "replace", "dev", wire, "root", *bucket)

    def left(self, patience_s: float = 5.0) -> list[str]:
        """Return the commands of the processes that are still there on any host after ``patience_s``.

        Python's resource tracker, which ``multiprocessing`` starts, ends by itself, but some moments after its parent.
        """
        deadline = time.monotonic() + patience_s
        while (pids := _pids()) and time.monotonic() < deadline:
            time.sleep(0.05)
        commands = []
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                commands.append(" ".join(psutil.Process(pid).cmdline()))
        return commands


def address(host: int) -> str:
    """Return a host's address."""
    return f"10.77.0.{host + 1}"


@contextlib.contextmanager
def four_hosts(folder: Path) -> Iterator[Hosts]:
    """Make four hosts, and take them away with all that runs on them; skips the test where none may be made."""
    hosts = Hosts(folder)
    try:
        try:
            _make()
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            pytest.skip(f"network namespaces may not be made here: {said.strip()}")
        yield hosts
    finally:
        for process in hosts.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for name in (*map(_name, range(COUNT)), _name("switch")):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _make() -> None:
    switch = _name("switch")
    _call("ip", "netns", "add", switch)
    _call("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
    _call("ip", "-n", switch, "link", "set", "bridge", "up")
    for host in range(COUNT):
        name = _name(host)
        _call("ip", "netns", "add", name)
        _call("ip", "-n", name, "link", "set", "lo", "up")
        _call("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{host}", "netns", switch)
        _call("ip", "-n", switch, "link", "set", f"port{host}", "master", "bridge", "up")
        _call("ip", "-n", name, "address", "add", f"{address(host)}/24", "dev", "eth0")
        _call("ip", "-n", name, "link", "set", "eth0", "up")
    _call("ip", "-n", _name(1), "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", _name(2))
    for host, other in ((1, 2), (2, 1)):
        _call("ip", "-n", _name(host), "link", "set", "cable", "up")
        _call("ip", "-n", _name(host), "route", "add", f"{address(other)}/32", "dev", "cable", "src", address(host))


def _pids() -> list[int]:
    return [int(pid) for host in range(COUNT) for pid in _call("ip", "netns", "pids", _name(host)).split()]


def _on(host: int, *command: str) -> str:
    return _call("ip", "netns", "exec", _name(host), *command)


def _call(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _name(host: int | str) -> str:
    return f"{_RUN}-{host}"
