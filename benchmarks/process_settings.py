"""What each setting of a stage's process is worth: the whole training step on one core, with one lever moved at a time.

    python benchmarks/process_settings.py --model alexnet resnet50 vgg16 --batch-size 16

A process for each variant; they take turns, one step at a time, so that drift meets them all alike. ``as it runs`` is
what stages do; every other line moves one lever away from it. Leave the machine alone meanwhile.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

VARIANTS = (
    "as it runs", "not pinned", "malloc as installed", "denormals flushed", "channels first",
    "SGD of torch, foreach", "SGD of torch, fused",
)  # fmt: skip


def main() -> None:
    """Print one table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=["alexnet", "resnet50", "vgg16"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--serve", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.model[0], options.batch_size)
        return
    for model in options.model:
        compare(model, options.batch_size, options.rounds)
    denormals()


def compare(model: str, batch_size: int, rounds: int) -> None:
    """Let all variants of one model take turns."""
    command = [sys.executable, __file__, "--model", model, "--batch-size", str(batch_size), "--serve"]
    servers = {
        name: subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in VARIANTS
    }
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    faults: dict[str, list[float]] = {name: [] for name in VARIANTS}
    try:
        for turn in range(rounds + 2):
            for name, server in servers.items():
                assert server.stdin
                assert server.stdout
                server.stdin.write("step\n")
                server.stdin.flush()
                step_s, minor = map(float, server.stdout.readline().split())
                if turn >= 2:
                    times[name].append(step_s)
                    faults[name].append(minor)
    finally:
        for server in servers.values():
            assert server.stdin
            server.stdin.close()
            server.wait()
    print(f"\n{model}, batch {batch_size}, {rounds} rounds")
    print("lever                   ms a step   ratio (lowest - highest)   faults a step")
    for name in VARIANTS:
        ratios = [own / ours for own, ours in zip(times[name], times[VARIANTS[0]], strict=True)]
        print(
            f"{name:22} {statistics.median(times[name]) * 1e3:10.1f}   {statistics.median(ratios):5.3f} "
            f"({min(ratios):.3f} - {max(ratios):.3f}) {statistics.median(faults[name]):15.0f}",
            flush=True,
        )


def denormals() -> None:
    """Print what an update costs whose momenta have decayed to denormals, as those of idle weights do."""
    import torch

    from profiler.execution import Moments, write_next
    from profiler.settings import UpdateRule

    rule = UpdateRule(lr=0.01, momentum=0.9)
    weight, gradient, out = torch.ones(1 << 22), torch.zeros(1 << 22), torch.empty(1 << 22)
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(9):
        for flush, found in times.items():
            torch.set_flush_denormal(flush)
            momenta = Moments((torch.full_like(weight, 1e-39),))
            start = time.perf_counter()
            write_next(rule, weight, gradient, momenta, out=out)
            found.append((time.perf_counter() - start) * 1e3)
    kept, flushed = statistics.median(times[False]), statistics.median(times[True])
    print(f"\nupdate of 4 Mi weights with denormal momenta: {kept:.1f} ms kept, {flushed:.1f} ms flushed")


def serve(variant: str, model: str, batch_size: int) -> None:
    """Run a step for each line on stdin and print how long it took and how many page faults it met."""
    import resource

    step = prepared(variant, model, batch_size)
    for _ in sys.stdin:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        step()
        took = time.perf_counter() - start
        print(took, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, flush=True)


def prepared(variant: str, model: str, batch_size: int) -> Callable[[], None]:
    """Return a training step with one lever moved."""
    from dataclasses import replace

    import torch

    from profiler.capture import captured_model, minibatch
    from profiler.machine import pin
    from profiler.measure import stepper_for
    from profiler.settings import config as configuration

    config = configuration.override(configuration.for_model(model), {"batch_size": batch_size})
    everywhere = os.sched_getaffinity(0)
    if variant == "malloc as installed":
        os.sched_setaffinity(0, {min(everywhere)})
        torch.set_num_threads(1)
    else:
        pin(min(everywhere))
    if variant == "not pinned":
        os.sched_setaffinity(0, everywhere)
    if variant == "denormals flushed":
        torch.set_flush_denormal(True)
    captured = captured_model(config)
    inputs, labels = minibatch(config, captured)
    if variant == "channels first":
        captured.model.to(memory_format=torch.contiguous_format)
        inputs = inputs.contiguous()
    if variant.startswith("SGD"):
        torch_sgd = torch.optim.SGD(
            captured.model.parameters(), lr=0.0, momentum=0.9,
            fused=variant.endswith("fused"), foreach=variant.endswith("foreach"),
        )  # fmt: skip

        def step() -> None:
            torch_sgd.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(captured.model(inputs), labels))
            torch_sgd.step()

        return step
    stepper = stepper_for(captured, (inputs, labels), replace(config.rule, lr=0.0), 2)
    return lambda: (stepper.plain_step(), None)[1]


if __name__ == "__main__":
    main()
