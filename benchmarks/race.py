"""Simulate races of six splits: how often the best is dropped, how many runs it takes, and how often FIRM is right.

    python benchmarks/race.py --races 100

A race is lost if everybody left in it is more than 1% slower than the best; FIRM is wrong if the first is neither
within 1% of the best nor named as a tie with it. Promises are right to 2%, off by up to 15% either way, or 15% too low
for the best alone. A round's pace is normal with 10%, one for all.
"""

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.random import Generator

from runtime.compare.posterior import TIED, posterior
from runtime.compare.race import out_of_the_race
from runtime.compare.ranking import ranking

SPLITS, ROUNDS, FEWEST = 6, 3, 2
TRUTHS = {
    "close": -0.04 * np.arange(SPLITS),
    "spread": np.array([0.0, -0.05, -0.15, -0.3, -0.5, -0.6]),
    "apart": np.array([0.0, -0.2, -0.3, -0.5, -0.6, -0.7]),
    "ties": np.array([0.0, 0.0, -0.15, -0.3, -0.5, -0.6]),
}
Floats = np.ndarray
Drawn = Callable[[Generator, tuple[int, int]], Floats]
NOISES: dict[str, Drawn] = {
    "1%": lambda random, shape: random.normal(0, 0.01, shape),
    "3%": lambda random, shape: random.normal(0, 0.03, shape),
    "10%": lambda random, shape: random.normal(0, 0.1, shape),
    "heavy tails": lambda random, shape: 0.02 * random.standard_t(3, shape),
    "rare slow runs": lambda random, shape: random.normal(0, 0.02, shape) - 0.3 * (random.random(shape) < 0.1),
    "the best noisier": lambda random, shape: random.normal(
        0, np.where(np.arange(shape[0]) == 0, 0.05, 0.015)[:, None], shape
    ),
}
PROMISES: dict[str, Callable[[Generator, Floats], Floats]] = {
    "right": lambda random, truth: truth + random.normal(0, 0.02, len(truth)),
    "off by 15%": lambda random, truth: truth + random.uniform(-0.15, 0.15, len(truth)),
    "best too low": lambda random, truth: truth + random.normal(0, 0.02, len(truth)) - 0.15 * (truth == truth.max()),
}


@dataclass(frozen=True, slots=True)
class Race:
    """How one race ended."""

    lost: bool
    runs: int
    firm: bool
    wrong: bool


def race(random: Generator, truth: Floats, noise: Drawn, promised: Floats) -> Race:
    """Run one race to its end."""
    names = [str(split) for split in range(SPLITS)]
    table = truth[:, None] + random.normal(0, 0.1, (1, ROUNDS)) + noise(random, (SPLITS, ROUNDS))
    speeds: dict[str, dict[int, float]] = {name: {} for name in names}
    promises = dict(zip(names, np.exp(promised).tolist(), strict=True))
    racing = set(names)
    for number in range(1, ROUNDS + 1):
        for name in racing:
            speeds[name][number] = float(np.exp(table[int(name), number - 1]))
        out = out_of_the_race(speeds, promises)
        racing = set(names) - set(out)
        found = ranking(posterior(speeds), names, number, out)
        if number >= FEWEST and found.firm:
            break
    good = [name for name in names if truth[int(name)] >= truth.max() - TIED]
    named = {found.order[0], *found.ties}
    return Race(
        lost=not racing & set(good), runs=sum(map(len, speeds.values())), firm=found.firm,
        wrong=found.firm and not named & set(good),
    )  # fmt: skip


def cell(kind: tuple[str, str, str], races: int) -> str:
    """Return a line of the table."""
    truth, noise, promise = kind
    random = np.random.default_rng(0)
    ended = [race(random, TRUTHS[truth], NOISES[noise], PROMISES[promise](random, TRUTHS[truth])) for _ in range(races)]
    firm = sum(own.firm for own in ended)
    return (
        f"| {truth} | {noise} | {promise} | {sum(own.lost for own in ended) / races:.1%} "
        f"| {sum(own.runs for own in ended) / races:.1f} of {SPLITS * ROUNDS} | {firm / races:.0%} "
        f"| {sum(own.wrong for own in ended) / races:.1%} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--races", type=int, default=100)
    options = parser.parse_args()
    print(
        "| speeds | noise | promises | best dropped | runs | FIRM | FIRM and wrong |\n|---|---|---|---:|---:|---:|---:|"
    )
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for line in pool.map(partial(cell, races=options.races), product(TRUTHS, NOISES, PROMISES)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
