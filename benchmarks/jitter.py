"""What a rule is worth beside orders that are fixed before, where durations vary.

    python -m runtime run --plan plan.json --batches 128 -o run.json     # on a loud machine
    python benchmarks/jitter.py run.json
    python benchmarks/jitter.py

The same actions with the same durations, twice: as the rule chooses, and in the order that the rule takes where each
action of a kind takes its median. Durations are those of recorded runs; without any they are drawn, of even stages
whose F, B and W take as long as each other: each varies by a standard deviation of 20% or 40%. Prints the share of the
pace that the slowest stage allows, or of drawn durations the medians of the draws.
"""

import argparse
import random
from pathlib import Path
from statistics import median

from optimizer.schedule import Duration, Durations, Pace, by_kind, makespan_s, pace_of, simulate
from profiler.files import read_json
from runtime.results import RunResult

DRAWS, MINIBATCHES = 20, 160


def fixed_s(pace: Pace, stages: int, minibatches: int, usual: Durations, durations: Durations) -> float:
    """Return how long a run takes whose stages follow the orders that usual durations come to."""
    orders = [[span.action for span in row] for row in simulate(pace, stages, minibatches, usual)]
    done_s: dict[tuple[int, str, int], float] = {}
    free_s, at = [0.0] * stages, [0] * stages
    while any(at[stage] < len(order) for stage, order in enumerate(orders)):
        for stage, order in enumerate(orders):
            while at[stage] < len(order):
                action = order[at[stage]]
                other = stage + {"F": -1, "B": 1}.get(action.kind, stages)
                needs = (other, action.kind, action.minibatch)
                if 0 <= other < stages and needs not in done_s:
                    break
                start_s = max(free_s[stage], done_s.get(needs, 0.0))
                free_s[stage] = start_s + durations(stage, action.kind, action.minibatch)
                done_s[stage, action.kind, action.minibatch] = free_s[stage]
                at[stage] += 1
    return max(free_s)


def shares(pace: Pace, stages: int, minibatches: int, usual: Durations, durations: Durations) -> tuple[float, float]:
    """Return the shares of the pace of the rule and of fixed orders."""
    spans = simulate(pace, stages, minibatches, durations)
    slowest_s = max(sum(span.end_s - span.start_s for span in row) for row in spans)
    return slowest_s / makespan_s(spans), slowest_s / fixed_s(pace, stages, minibatches, usual, durations)


def drawn(stages: int, deviation: float, seed: int) -> Durations:
    """Return durations that vary evenly around one, by a standard deviation."""
    half = deviation * 3**0.5
    draw = random.Random(seed)  # noqa: S311 - no secret
    times = {
        (stage, kind, minibatch): max(0.0, draw.uniform(1 - half, 1 + half))
        for stage in range(stages)
        for kind in "FBW"
        for minibatch in range(MINIBATCHES)
    }
    return lambda stage, kind, minibatch: times.get((stage, kind, minibatch), 0.0)


def recorded(run: RunResult) -> tuple[Durations, Durations]:
    """Return the durations of a run's actions, and each stage's medians."""
    times = {
        (own.stage, action.kind, action.minibatch): action.end_s - action.start_s
        for own in run.stages
        for action in own.actions
    }
    medians = [
        Duration(
            *(median(time for (at, own, _), time in times.items() if (at, own) == (stage, kind)) for kind in "FBUW")
        )
        for stage in range(len(run.stages))
    ]
    return lambda stage, kind, minibatch: times[stage, kind, minibatch], by_kind(medians)


def main() -> None:
    """Print a line for each run, or for each number of stages and deviation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="*", type=Path, help="a run's result, as run -o writes it")
    options = parser.parse_args()
    for path in options.run:
        run = read_json(path, RunResult)
        durations, usual = recorded(run)
        rule, fixed = shares(run.plan.pace, len(run.stages), run.minibatches, usual, durations)
        print(f"{path}: rule {rule:.3f}, orders fixed before {fixed:.3f} of the pace")
    if options.run:
        return
    for deviation in (0.2, 0.4):
        for stages in (2, 4, 8):
            pace = pace_of("zero-bubble", stages)
            found = [
                shares(
                    pace,
                    stages,
                    MINIBATCHES,
                    by_kind([Duration(1.0, 1.0, 0.0, 1.0)] * stages),
                    drawn(stages, deviation, seed),
                )
                for seed in range(DRAWS)
            ]
            rule, fixed = (median(own) for own in zip(*found, strict=True))
            print(f"{stages} stages, {pace.words}, ±{deviation:.0%}: rule {rule:.3f}, fixed {fixed:.3f} of the pace")


if __name__ == "__main__":
    main()
