"""Another process that measures on some cores, or says so."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from places import CHECKOUT

from profiler.machine import cores as machine_cores

HOLDER = """
import sys
from profiler.machine import claimed, cores
cores.CLAIM = chr(0) + sys.argv[1]
with claimed(map(int, sys.argv[2:])):
    print("claimed", flush=True)
    input()
"""


@contextmanager
def another_process(*cores: int) -> Iterator[subprocess.Popen[str]]:
    """Hold cores in a process of their own."""
    words = [sys.executable, "-c", HOLDER, machine_cores.CLAIM[1:], *map(str, cores)]
    with subprocess.Popen(
        words, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "claimed\n"
        yield process
        process.kill()
