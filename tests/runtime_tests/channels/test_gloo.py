"""Where processes meet for gloo on one host: nothing is reached from another one."""

from ipaddress import ip_address
from multiprocessing.connection import Connection

import psutil
import pytest
import torch.distributed as dist
from ports import listening

from profiler.machine import helper
from runtime.channels import Rendezvous, join, open_store, rendezvous_of


def meet(_connection: Connection, rank: int, rendezvous: Rendezvous) -> list[str]:
    join(rendezvous, rank, 2)
    addresses = [ip for ip, _ in listening()]
    dist.barrier()
    return addresses


def test_the_store_of_one_host_listens_on_the_loopback_interface_only() -> None:
    before = listening()
    store = open_store()
    assert store.port
    assert [ip for ip, _ in listening() - before] == ["127.0.0.1"]
    del store
    assert listening() == before


def test_ranks_of_one_host_listen_on_the_loopback_interface_only(monkeypatch: pytest.MonkeyPatch) -> None:
    other = next((name for name in psutil.net_if_addrs() if name != "lo"), "none")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", other)
    store = open_store()
    with helper(meet, 0, rendezvous_of(store)) as first, helper(meet, 1, rendezvous_of(store)) as second:
        addresses = first.receive() + second.receive()
    assert addresses
    assert all(ip_address(address).is_loopback for address in addresses)
