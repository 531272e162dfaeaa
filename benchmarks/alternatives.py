"""Train with what a user would run instead, on the same cores in the same rounds, and with our pipeline.

    python benchmarks/alternatives.py --model alexnet resnet50 vgg16 --stages 2 --batch-size 16

Rows, each with the minibatches of ``--batch-size`` samples that one update averages:

    1f1b             our pipeline, asynchronous: one minibatch an update, on stashed weights
    1f1b-flush       our pipeline, synchronous: 8 minibatches an update
    one process      the plain training loop, with as many threads as stages: one minibatch an update
    DDP              DistributedDataParallel over gloo, as many processes of one thread: one minibatch of each an update
    torch 1F1B       torch.distributed.pipelining, Schedule1F1B, with our split: 8 micro-batches an update

The last three are as installed: torch's defaults for memory format, allocator and SGD (momentum 0.9), and no process is
pinned. Every contender is ready and warm before the first round, and sleeps while another runs. Samples a second are
those of whole rounds of updates; of ``1f1b``, those of its steady state. Leave the machine alone meanwhile.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FLUSH = 8
PEERS = ("one process", "DDP", "torch 1F1B")
LR, MOMENTUM = 0.01, 0.9


def main() -> None:
    """Print one table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--batches", type=int, default=16, help="minibatches of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        serve(options)
        return
    for name in options.model:
        compare(name, options)


def compare(name: str, options: argparse.Namespace) -> None:
    """Let all contenders take turns on one model."""
    from optimizer.planner import Planner
    from profiler import config as configuration
    from profiler.files import to_json
    from profiler.measure import measure
    from profiler.process import usable_cores
    from profiler.provenance import machine
    from profiler.workload import SEED, captured_model
    from runtime.launcher import Launcher, Settings, comparable, cores_for
    from runtime.pool import WorkerPool

    stages, batches = options.stages, options.batches
    cores = cores_for(stages, usable_cores(None))
    if not comparable(cores):
        raise SystemExit(f"{stages} stages need as many cores; this process may use {len(set(cores))}")
    changes = {"batch_size": options.batch_size, "batches": batches}
    config = configuration.override(configuration.for_model(name), changes)
    profile = measure(config, captured_model(config), cores[:1], lambda _share: None)
    plan = Planner(profile, stages, batches).optimized()
    settings = {
        "1f1b": Settings(rule=config.rule, seed=SEED),
        "1f1b-flush": Settings(rule=config.rule, seed=SEED, schedule="1f1b-flush", flush_every=FLUSH),
    }
    speeds: dict[str, list[float]] = {row: [] for row in (*settings, *PEERS)}
    with TemporaryDirectory() as folder, WorkerPool(cores) as pool:
        path = Path(folder) / "plan.json"
        path.write_bytes(to_json(plan))
        with (
            closing(Launcher(captured_model(config), pool, settings["1f1b"])) as stashed,
            closing(Launcher(captured_model(config), pool, settings["1f1b-flush"])) as flushed,
            started("one process", name, 1, path, options) as threads,
            started("DDP", name, stages, path, options) as replicas,
            started("torch 1F1B", name, stages, path, options) as pipelining,
        ):
            rounds: dict[str, Callable[[], float]] = {
                "1f1b": lambda: stashed.run(plan, batches).throughput_samples_per_s,
                "1f1b-flush": lambda: flushed.run(plan, batches).throughput_samples_per_s,
                "one process": threads,
                "DDP": replicas,
                "torch 1F1B": pipelining,
            }
            for number in range(options.rounds + 1):
                for row, run in rounds.items():
                    speed = run()
                    if number:
                        speeds[row].append(speed)
    found = machine()
    print(f"\n{name}: {found.cpu}, torch {found.torch}, cores {cores}, minibatches of {options.batch_size}")
    print("contender      samples/s (lowest - highest)    1f1b is faster by (lowest - highest)    1f1b-flush is")
    for row, values in speeds.items():
        ratios = [
            [ours / theirs for ours, theirs in zip(speeds[own], values, strict=True)] for own in ("1f1b", "1f1b-flush")
        ]
        print(
            f"{row:14} {statistics.median(values):9.1f} ({min(values):.1f} - {max(values):.1f})"
            f"{statistics.median(ratios[0]):20.2f} ({min(ratios[0]):.2f} - {max(ratios[0]):.2f})"
            f"{statistics.median(ratios[1]):26.2f} ({min(ratios[1]):.2f} - {max(ratios[1]):.2f})",
            flush=True,
        )


@contextmanager
def started(
    peer: str, model: str, processes: int, plan: Path, options: argparse.Namespace
) -> Iterator[Callable[[], float]]:
    """Start a peer's processes and yield what runs a round and returns its samples per second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, __file__, "--peer", peer, "--model", model, "--stages", str(options.stages), "--batch-size",
        str(options.batch_size), "--batches", str(options.batches), "--port", str(port), "--plan", str(plan),
    ]  # fmt: skip
    servers = [
        subprocess.Popen([*command, "--rank", str(rank)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for rank in range(processes)
    ]

    def run() -> float:
        for server in servers:
            assert server.stdin
            server.stdin.write("go\n")
            server.stdin.flush()
        lines = []
        for server in servers:
            assert server.stdout
            lines.append(server.stdout.readline())
        return float(lines[0])

    try:
        yield run
    finally:
        for server in servers:
            assert server.stdin
            server.stdin.close()
            server.wait()


def serve(options: argparse.Namespace) -> None:
    """Run a round for each line on stdin and print its samples per second."""
    import torch
    import torch.distributed as dist

    torch.manual_seed(0)
    step, samples = PREPARE[options.peer](options)
    updates = max(1, options.batches * options.batch_size // samples)
    step()
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(updates):
            step()
        print(updates * samples / (time.perf_counter() - start), flush=True)
    if dist.is_initialized():
        dist.destroy_process_group()


def built(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Return the model as torchvision makes it, and a minibatch."""
    import torch
    import torchvision

    from optimizer.types import Plan
    from profiler.files import read_json

    plan = read_json(options.plan, Plan)
    model = torchvision.models.get_model(options.model[0], weights=None, num_classes=1000).train()
    return model, torch.randn(plan.input_shape), torch.randint(1000, plan.input_shape[:1])


def one_process(options: argparse.Namespace) -> tuple[Callable[[], None], int]:
    """Return the plain training step, on as many threads as there are stages."""
    import torch

    torch.set_num_threads(options.stages)
    model, inputs, labels = built(options)
    sgd = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def step() -> None:
        sgd.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(inputs), labels))
        sgd.step()

    return step, options.batch_size


def replicas(options: argparse.Namespace) -> tuple[Callable[[], None], int]:
    """Return the training step of DistributedDataParallel."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    meet(options)
    model, inputs, labels = built(options)
    model = DistributedDataParallel(model)
    sgd = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def step() -> None:
        sgd.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(inputs), labels))
        sgd.step()

    return step, options.batch_size * dist.get_world_size()


def pipelining(options: argparse.Namespace) -> tuple[Callable[[], None], int]:
    """Return the training step of torch.distributed.pipelining with our split."""
    import torch
    import torch.distributed as dist
    from torch import fx
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B
    from torch.fx.passes.split_module import split_module

    from optimizer.types import Plan
    from profiler.files import read_json

    torch.set_num_threads(1)
    meet(options)
    model, inputs, labels = built(options)
    plan = read_json(options.plan, Plan)
    stage_of = {layer: number for number, stage in enumerate(plan.stages) for layer in stage.layers}
    whole = fx.symbolic_trace(model)
    split = split_module(
        whole, model, lambda node: stage_of[str(node.target) if node.op == "call_module" else node.name]
    )
    rank, count = dist.get_rank(), len(plan.stages)
    own = getattr(split, f"submod_{rank}")
    stage = PipelineStage(own, rank, count, torch.device("cpu"))
    schedule = Schedule1F1B(stage, FLUSH, loss_fn=torch.nn.functional.cross_entropy)
    sgd = torch.optim.SGD(own.parameters(), lr=LR, momentum=MOMENTUM)
    all_inputs, all_labels = inputs.repeat(FLUSH, 1, 1, 1), labels.repeat(FLUSH)

    def step() -> None:
        sgd.zero_grad()
        given = (all_inputs,) if rank == 0 else ()
        schedule.step(*given, **({"target": all_labels} if rank == count - 1 else {}))
        sgd.step()

    return step, options.batch_size * FLUSH


def meet(options: argparse.Namespace) -> None:
    """Join the other ranks."""
    import torch.distributed as dist

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(options.port), "GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", rank=options.rank, world_size=options.stages)


PREPARE: dict[str, Callable[[argparse.Namespace], tuple[Callable[[], None], int]]] = {
    "one process": one_process,
    "DDP": replicas,
    "torch 1F1B": pipelining,
}

if __name__ == "__main__":
    main()
