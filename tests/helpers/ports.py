"""Ports that nobody takes before the process that is to listen there, and those that this process listens at."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest


@contextmanager
def reserved_port() -> Iterator[int]:
    """Hold a port of the loopback interface: the kernel gives it to nobody, and who asks for it by number gets it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@contextmanager
def lone_rank(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be a rank of torchrun that is alone in its session."""
    with reserved_port() as port:
        place = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        for name, value in place.items():
            patch.setenv(name, value)
        yield


def listening() -> set[tuple[str, int]]:
    """The addresses and ports that this process listens at."""
    sockets = psutil.Process().net_connections("inet")
    return {(one.laddr.ip, one.laddr.port) for one in sockets if one.status == psutil.CONN_LISTEN}
