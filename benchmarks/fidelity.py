"""Hold models against their captured layers, and say how long that takes beside a plain step, as a Markdown table.

    python benchmarks/fidelity.py -o docs/results/fidelity.md
    python benchmarks/fidelity.py --families timm -o docs/results/fidelity-timm.md

Every classification model that torchvision lists; or one of each family of timm, if that is installed, the smallest
below 120 million parameters. The plain step is model, loss, backward and SGD's update, one thread; the check is what
``python -m profiler`` does once before it measures. It goes on where it was.
"""

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from profiler.capture import laid_out, refuse_unfaithful
from profiler.capture.layer_graph import capture
from profiler.errors import StageplanError
from profiler.machine import pinned, this_machine

CLASSES, MOST_PARAMETERS = 10, 120_000_000
SIZES = (128, 224, 256, 299, 384)
HEAD = (
    "| model | pixels | layers | plain step ms | check ms | check ÷ step | said |\n|---|---:|---:|---:|---:|---:|---|\n"
)


def main() -> None:
    """Write the table, a line a model as it is done, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--families", choices=("torchvision", "timm"), default="torchvision")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--one", help="a single model, whose line is printed")
    options = parser.parse_args()
    if options.one:
        print(line_of(options.families, options.one, options.batch_size))
        return
    done = options.output.read_text().splitlines() if options.output.is_file() else []
    rows = [line for line in done if line.startswith("| ") and " ms " not in line]
    lines = {row.split(" | ")[0].removeprefix("| "): row for row in rows}
    every = torchvision.models.list_models(module=torchvision.models)
    for name in every if options.families == "torchvision" else families():
        if name not in lines:
            command = [sys.executable, __file__, "-o", str(options.output), "--families", options.families]
            command += ["--batch-size", str(options.batch_size), "--one", name]
            said = subprocess.run(command, capture_output=True, text=True, check=False)
            last = (said.stdout.strip() or said.stderr.strip() or f"ended with {said.returncode}").splitlines()[-1]
            lines[name] = last if last.startswith("| ") else f"| {name} | | | | | | {last[:200]} |"
            print(lines[name], flush=True)
        options.output.write_text(table(options.families, options.batch_size, list(lines.values())))


def table(families_of: str, batch_size: int, lines: list[str]) -> str:
    """Return the whole file."""
    passed = [line for line in lines if line.endswith("| as its layers |")]
    ratios = sorted(float(line.split(" | ")[5]) for line in passed)
    middle = f", check ÷ plain step: median {ratios[len(ratios) // 2]:.2f}, at most {ratios[-1]:.2f}" if ratios else ""
    here = f"Batch {batch_size}, one core of {this_machine().cpu}."
    passing = f"Of {len(lines)} models {len(passed)} compute what their layers do, bit for bit{middle}."
    head = f"# {families_of}: models against their captured layers\n\n{here} {passing}\n\n"
    return head + HEAD + "".join(f"{line}\n" for line in lines)


def families() -> list[str]:
    """Return the smallest model of each family of timm."""
    import timm

    names = []
    for module in timm.list_modules():
        sizes: dict[str, int] = {}
        for name in timm.list_models(module=module):
            with torch.device("meta"):
                try:
                    sizes[name] = sum(own.numel() for own in timm.create_model(name, num_classes=CLASSES).parameters())
                except Exception:  # noqa: BLE001, S112 - such as one that cannot be built without its weights
                    continue
        smallest = min(sizes, key=sizes.__getitem__, default="")
        if smallest and sizes[smallest] <= MOST_PARAMETERS:
            names.append(smallest)
    return names


def built(families_of: str, name: str, size: int) -> nn.Module:
    """Return a model, its weights at random."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: nn.Module
        if families_of == "torchvision":
            model = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
            return model.train()
        import timm

        try:
            model = timm.create_model(name, num_classes=CLASSES, img_size=size)
        except TypeError:
            model = timm.create_model(name, num_classes=CLASSES)
        return model.train()


def line_of(families_of: str, name: str, batch_size: int) -> str:
    """Return a model's line, at the smallest size that it takes."""
    said = ""
    for size in SIZES:
        inputs = laid_out(torch.randn(batch_size, 3, size, size))
        try:
            model = built(families_of, name, size).to(memory_format=torch.channels_last)
            model(inputs)
        except Exception as error:  # noqa: BLE001 - of a size that it does not take
            said = said or f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
            continue
        try:
            return f"| {name} | {size} | {checked(model, name, inputs)} | as its layers |"
        except StageplanError as error:
            return f"| {name} | {size} | | | | | refused: {str(error).replace('|', '/')[:200]} |"
    return f"| {name} | | | | | | {said} |"


def checked(model: nn.Module, name: str, inputs: Tensor) -> str:
    """Return how many layers a model has, and what a plain step and the check take."""
    targets = torch.randint(CLASSES, (len(inputs),))
    with pinned(0):
        captured = capture(model, name, inputs)
        step(model, inputs, targets)  # which warms up
        step_s = timed(lambda: step(model, inputs, targets))
        check_s = timed(lambda: refuse_unfaithful(captured, inputs, targets))
    return f"{len(captured.operations)} | {step_s * 1e3:.0f} | {check_s * 1e3:.0f} | {check_s / step_s:.2f}"


def timed(work: Callable[[], None]) -> float:
    """Return how long some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def step(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    """Train the whole model on one minibatch, as a plain loop does."""
    returned = model(inputs)
    outputs = [head for head in returned if head is not None] if isinstance(returned, tuple) else [returned]
    loss = torch.stack([nn.functional.cross_entropy(output, targets) for output in outputs]).sum()
    torch.autograd.backward(loss)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-1e-4)
                parameter.grad = None


if __name__ == "__main__":
    main()
