"""Count the descriptors that this process has open, and leave it few more."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


def open_descriptors() -> dict[int, str]:
    """Return what is open, by number."""
    links = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers
        try:
            links[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except FileNotFoundError:  # that of the folder itself
            continue
    return links


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Let this process open ``spare`` more files and no others."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = open_descriptors()
    number = limit = 0
    while number < spare or limit in taken:
        number += limit not in taken
        limit += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
