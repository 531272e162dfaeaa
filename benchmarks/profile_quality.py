"""How far a profile can be trusted: do its parts explain the whole step and its memory, and does it come out again?

    python benchmarks/profile_quality.py --model alexnet vgg16 resnet50 --batch-size 1 16 --profiles 3

Profiles every model at every batch size, one after the other, each in a process of its own as a user's command is, and
all of that as often as asked, so that two profiles of the same model are minutes apart. Prints for each: the closure
errors; by how much parameters, gradients, momentum and saved bytes miss the measured peak of a
step; and by how much the ten costliest layers' shares of their own profile's whole step differ between any two
profiles, over the smaller. Leave the machine alone meanwhile.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import combinations, product

from profiler.files import from_json
from profiler.machine import this_machine
from profiler.profile import Profile, parts_s

LARGEST_LAYERS = 10


def main() -> None:
    """Print one line for each model and batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", default=["alexnet", "vgg16", "resnet50"])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--profiles", type=int, default=3)
    parser.add_argument("--budget", type=float, default=30.0, help="seconds for each profile")
    options = parser.parse_args()
    wanted = list(product(options.model, options.batch_size))
    found: list[list[Profile]] = [[] for _ in wanted]
    for _ in range(options.profiles):
        for (model, batch_size), profiles in zip(wanted, found, strict=True):
            profiles.append(profiled(model, batch_size, options.budget))
            print(f"{model} b{batch_size}: {profiles[-1].closure_error:+.2%}", flush=True)
    here = this_machine()
    print(f"\n{here.cpu}, torch {here.torch}, {options.profiles} profiles of {options.budget:.0f} s each\n")
    print(
        "| model | batch | step ms | closure: median | of each | memory: sum MiB | peak MiB | off | shares differ by |"
    )
    print("|---|---:|---:|---:|---|---:|---:|---:|---:|")
    for profiles in found:
        print(line_of(profiles))


def profiled(model: str, batch_size: int, budget_s: float) -> Profile:
    """Return what ``python -m profiler`` measures in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "profiler", "--model", model, "--batch-size", str(batch_size),
            "--budget", f"{budget_s}s", "--json", "--quiet",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True)
    return from_json(done.stdout, Profile, "the profile")


def line_of(profiles: Sequence[Profile]) -> str:
    """Return the line of one model at one batch size."""
    closures = [profile.closure_error for profile in profiles]
    parts = statistics.median(sum(profile.memory_parts) for profile in profiles)
    peak = statistics.median(profile.peak_memory_bytes or 1 for profile in profiles)
    step_ms = statistics.median(profile.whole_step_s for profile in profiles) * 1e3
    worst = max((difference(*pair) for pair in combinations(profiles, 2)), default=0.0)
    return (
        f"| {profiles[0].model} | {profiles[0].batch_size} | {step_ms:.1f} | {statistics.median(closures):+.1%} | "
        f"{' '.join(f'{error:+.1%}' for error in closures)} | {parts / 2**20:.0f} | {peak / 2**20:.0f} | "
        f"{parts / peak - 1:+.0%} | {worst:.1%} |"
    )


def difference(first: Profile, second: Profile) -> float:
    """Return the largest difference of a share among the costliest layers, over the smaller of its two shares."""
    order = sorted(range(len(first.layers)), key=lambda at: first.layers[at].step_s, reverse=True)
    shares = [
        [profile.layers[at].step_s / parts_s(profile.layers, profile.loss) for profile in (first, second)]
        for at in order[:LARGEST_LAYERS]
    ]
    return max(max(pair) / min(pair) - 1 for pair in shares)


if __name__ == "__main__":
    main()
