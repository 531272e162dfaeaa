"""How long planning takes once the profile is loaded: all work from the Profile object to the finished Plan.

python benchmarks/planning_time.py profiles/*.json
"""

import argparse
import statistics
import time
from pathlib import Path

from optimizer.planner import Planner
from profiler.files import read_json
from profiler.types import Profile

REPEATS = 20


def main() -> None:
    """Print one line for each profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", nargs="+", type=Path)
    parser.add_argument("--stages", type=int, default=4)
    options = parser.parse_args()
    print("profile                              layers   median ms   lowest   highest")
    for path in options.profile:
        profile = read_json(path, Profile)
        times_ms = [plan_ms(profile, options.stages) for _ in range(REPEATS)]
        print(
            f"{path.name:36} {len(profile.layers):6} {statistics.median(times_ms):11.1f} "
            f"{min(times_ms):8.1f} {max(times_ms):9.1f}"
        )


def plan_ms(profile: Profile, stages: int) -> float:
    """Plan once and return how long it took."""
    start = time.perf_counter()
    Planner(profile, stages, 16).optimized()
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    main()
