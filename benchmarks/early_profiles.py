"""What a plan costs whose profile stopped early: rounds of long profiles, taken from many places until a plan is known.

    python -m profiler --model alexnet --budget 60s -o long/    # of each model, thirty rounds and more
    python benchmarks/early_profiles.py long/*.json

From each round of a profile on, further ones are taken until other rounds would give no plan that is better by more
than 1%, as the profiler does. The most even cut of these is priced with all rounds of the profile, beside the most even
cut of all.
"""

import argparse
from pathlib import Path
from statistics import median

import numpy as np

from profiler.files import read_json
from profiler.profile import Profile
from profiler.rounds.doubt import USUAL, doubt_of, even_cut, largest_stage
from profiler.rounds.shares import Floats, shares_of, steadied
from profiler.rounds.time_budget import ENOUGH_ROUNDS, KNOWN, LEAST_ROUNDS, next_check


def times_of(profile: Profile) -> Floats:
    """Return what each layer took in each round, ``[layer, round]``."""
    return np.array([layer.rounds_s for layer in profile.layers])


def stopped(times_s: Floats, stages: int) -> Floats:
    """Return the rounds at the pace of which a profile would have stopped."""
    most = min(ENOUGH_ROUNDS, times_s.shape[1])
    count = LEAST_ROUNDS
    while count < most and doubt_of(steadied(times_s[:, :count]), stages, *USUAL).regret > KNOWN:
        count = min(most, next_check(count))
    return steadied(times_s[:, :count])


def main() -> None:
    """Print a line for each profile."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profiles", nargs="+", type=Path)
    parser.add_argument("--stages", type=int, default=4)
    options = parser.parse_args()
    print(
        "| model | rounds in all | taken: median (most) | cost of the plan: median | most |\n|---|---:|---:|---:|---:|"
    )
    for path in options.profiles:
        profile = read_json(path, Profile)
        times_s = times_of(profile)
        shares = shares_of(steadied(times_s))
        best = largest_stage(shares, even_cut(shares, options.stages))
        early = [stopped(times_s[:, first:], options.stages) for first in range(times_s.shape[1] - LEAST_ROUNDS + 1)]
        taken = [own.shape[1] for own in early]
        costs = [largest_stage(shares, even_cut(shares_of(own), options.stages)) / best - 1 for own in early]
        print(
            f"| {profile.model} | {times_s.shape[1]} | {median(taken):.0f} ({max(taken)}) | {median(costs):+.1%} "
            f"| {max(costs):+.1%} |"
        )


if __name__ == "__main__":
    main()
