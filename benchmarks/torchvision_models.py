"""Profile every classification model that torchvision lists, and write what came of it as a Markdown table.

    python benchmarks/torchvision_models.py -o docs/results/torchvision-models.md

It goes on where it was: a model that the table already has is not profiled again. Each is profiled in a process of its
own, with the fewest rounds: the table says what can be profiled, not how fast it is. A model that rejects images of
128×128 pixels is tried at the larger sizes that torchvision's models are made for.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torchvision

from profiler.files import from_json
from profiler.machine import this_machine
from profiler.profile import Profile
from profiler.report import mib

SIZES = (128, 224, 299)
BATCH = 2
HEAD = """# Every classification model of torchvision {version}

`python benchmarks/torchvision_models.py -o docs/results/torchvision-models.md`: {count} models, {refused} refused.
Batch {batch}, one core of {cpu}, the fewest rounds.
Heads: the main one and the auxiliary ones, whose losses count 0.3. Sum: parameters, gradients, momentum and saved,
against the peak of the resident size.

| model | pixels | layers | heads | parameters M | peak MiB | sum against peak |
|---|---:|---:|---:|---:|---:|---:|
"""


def main() -> None:
    """Write the table, one line a model as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=torchvision.models.list_models(module=torchvision.models))
    options = parser.parse_args()
    done = options.output.read_text().splitlines() if options.output.is_file() else []
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in done if line.startswith("| ")}
    for name in options.model:
        lines[name] = lines.get(name) or line_of(name)
        print(lines[name], flush=True)
        options.output.write_text(table([lines[name] for name in sorted(lines) if name != "model"]))


def table(lines: Sequence[str]) -> str:
    """Return the whole file."""
    refused = sum("refused" in line for line in lines)
    here = this_machine().cpu
    head = HEAD.format(version=torchvision.__version__, count=len(lines), refused=refused, batch=BATCH, cpu=here)
    return head + "".join(f"{line}\n" for line in lines)


def line_of(name: str) -> str:
    """Profile one model and return its line."""
    said = ""
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable, "-m", "profiler", "--model", name, "--image-size", str(size),
                "--batch-size", str(BATCH), "--budget", "0.1s", "--json", "--quiet",
            ]  # fmt: skip
            done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode == 0:
            return row(from_json(done.stdout, Profile, "the profile"), size)
        said = said or done.stderr.decode().strip().splitlines()[-1]
        if "rejects input" not in said:
            break
    return f"| {name} | refused: {said.removeprefix('error: ')} |" + " |" * 5


def row(profile: Profile, size: int) -> str:
    """Return the line of a model that was profiled."""
    parameters = sum(layer.parameter_bytes for layer in profile.layers) / 4e6
    peak = profile.peak_memory_bytes or 1
    cells = (
        profile.model, size, len(profile.layers), len(profile.outputs), f"{parameters:.1f}",
        mib(peak), f"{sum(profile.memory_parts) / peak - 1:+.0%}",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
