"""How long it takes to hand a tensor over to the next stage: shared memory against gloo on loopback.

    python benchmarks/hand_over.py --megabytes 1 10 100

Two processes, each pinned to a core. One sends an activation of so many MB, the other answers with a gradient of one
float as soon as it has it; both channels take turns, and the same round trip with an activation of one float is taken
off. The receiver does not look at the tensor: it lies in the receiver's memory, ready to be computed on.
"""

import argparse
import multiprocessing
import os
import socket
import statistics
import time
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle

import torch
import torch.distributed as dist

from profiler.execution import TensorSpec
from profiler.machine import pin, usable_cores
from runtime.channels import (
    Channel,
    Cut,
    Rendezvous,
    SharedMemory,
    channel_bytes,
    gloo_channel,
    join,
    notification_sockets,
    open_store,
    rendezvous_of,
    shared_memory_channel,
)

CHANNELS = ("shm", "gloo")


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", nargs="+", type=int, default=[1, 10, 100])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    cores = usable_cores()[:2]
    if len(cores) < 2:
        raise SystemExit("handing over takes two cores")
    sizes = [4, *(megabytes * 10**6 for megabytes in options.megabytes)]
    store = open_store()
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in cores]
    workers = [
        context.Process(target=serve, args=(ends[rank][1], (rank, core), rendezvous_of(store), sizes, options.rounds))
        for rank, core in enumerate(cores)
    ]
    for worker in workers:
        worker.start()
    for size in sizes:
        memory, sockets = SharedMemory.create(channel_bytes(cut_of(size))), notification_sockets()
        for (ours, _), notifications, worker in zip(ends, sockets, workers, strict=True):
            send_handle(ours, memory.descriptor, worker.pid)
            send_handle(ours, notifications.fileno(), worker.pid)
            notifications.close()
        memory.close()
    times: dict[int, dict[str, list[float]]] = ends[0][0].recv()
    for worker in workers:
        worker.join()
    empty = [statistics.median(times[sizes[0]][name]) * 1e6 for name in CHANNELS]
    print(f"an empty round trip: {empty[0]:.0f} µs in shared memory, {empty[1]:.0f} µs over gloo")
    print("MB      shared memory ms    gloo ms    ratio, median (lowest - highest)")
    for size in sizes[1:]:
        shm, gloo = (
            [took - base / 1e6 for took in times[size][name]] for name, base in zip(CHANNELS, empty, strict=True)
        )
        ratios = [slow / quick for slow, quick in zip(gloo, shm, strict=True)]
        print(
            f"{size / 1e6:5.0f} {statistics.median(shm) * 1e3:15.3f} {statistics.median(gloo) * 1e3:14.3f} "
            f"{statistics.median(ratios):10.1f} ({min(ratios):.1f} - {max(ratios):.1f})"
        )


def cut_of(size: int) -> Cut:
    """Return a cut with an activation of ``size`` bytes that has no gradient, and one float that has."""
    values = (
        TensorSpec(name="large", shape=(size // 4,), stride=(1,), dtype=torch.float32, gradient=False),
        TensorSpec(name="small", shape=(1,), stride=(1,), dtype=torch.float32, gradient=True),
    )
    return Cut(values, activation_slots=2, gradient_slots=2, in_flight=1)


def serve(control: Connection, place: tuple[int, int], rendezvous: Rendezvous, sizes: list[int], rounds: int) -> None:
    """Be one of the two ends, ``place`` its rank and core, for all sizes and both channels in turn."""
    rank, core = place
    pin(core)
    join(rendezvous, rank, 2)
    times: dict[int, dict[str, list[float]]] = {size: {name: [] for name in CHANNELS} for size in sizes}
    for size in sizes:
        cut = cut_of(size)
        memory, notifications = SharedMemory(recv_handle(control)), socket.socket(fileno=recv_handle(control))
        ends: dict[str, Channel] = {
            "shm": shared_memory_channel(memory, cut, notifications),
            "gloo": gloo_channel(cut, 1 - rank, behind=rank == 0),
        }
        memory.close()
        for channel in ends.values():
            channel.begin(rounds + 2)
            channel.activations.blank()
            channel.gradients.blank()
        tensors = [torch.zeros(size // 4), torch.zeros(1)]
        for minibatch in range(rounds + 2):
            for name, channel in ends.items():
                if rank:
                    channel.activations.receive(minibatch)
                    channel.gradients.put(minibatch, [tensors[1]])
                    channel.gradients.announce(minibatch)
                    continue
                start = time.perf_counter()
                channel.activations.put(minibatch, tensors)
                channel.activations.announce(minibatch)
                channel.gradients.receive(minibatch)
                if minibatch >= 2:
                    times[size][name].append(time.perf_counter() - start)
        for channel in ends.values():
            channel.close()
    dist.destroy_process_group()
    if not rank:
        control.send(times)
    control.close()
    os._exit(0)


if __name__ == "__main__":
    main()
