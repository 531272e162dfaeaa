"""What every method would choose for measured costs, and what that costs: one table for all given profiles.

    python benchmarks/planning_methods.py profiles/alexnet-b1-128.json profiles/alexnet-b16-128.json …

Each cell is the bottleneck of the method's split over that of the best one, and where the split is cut.
"""

import argparse
from pathlib import Path

from other_planners import PLANNERS, other_plan

from optimizer.errors import PartitionError
from optimizer.plan import Plan
from optimizer.planning import OPTIMIZED, Models, Planner, load_schemes, plans_for
from profiler.files import read_json
from profiler.profile import Profile


def plans_of(planner: Planner) -> dict[str, Plan]:
    """Return every method's plan that the model's cuts allow."""
    schemes = load_schemes()
    plans = plans_for((OPTIMIZED, *schemes), Models(planner), schemes, lambda sentence: print(f"({sentence})"))
    for name in PLANNERS:
        try:
            plans[name] = other_plan(name, planner)
        except PartitionError as error:
            print(f"({name} is left out: {error})")
    return plans


def main() -> None:
    """Print a row for each method and a column for each profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", nargs="+", type=Path)
    parser.add_argument("--stages", type=int, default=4)
    options = parser.parse_args()
    names = (OPTIMIZED, *PLANNERS, *load_schemes())
    profiles = [read_json(path, Profile) for path in options.profile]
    columns = [plans_of(Planner(profile, options.stages, 16)) for profile in profiles]
    heads = [f"{profile.model} b{profile.batch_size}" for profile in profiles]
    print(f"| method | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    best = [plans[OPTIMIZED].bottleneck_s for plans in columns]
    print(f"| {OPTIMIZED}, ms | {' | '.join(f'{bottleneck_s * 1e3:.1f}' for bottleneck_s in best)} |")
    for name in names[1:]:
        cells = [
            f"{plans[name].bottleneck_s / bottleneck_s:.3f}" if name in plans else "–"
            for plans, bottleneck_s in zip(columns, best, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    for head, plans in zip(heads, columns, strict=True):
        print(f"\n{head}, cuts after:")
        for name in (OPTIMIZED, *PLANNERS):
            if name in plans:
                print(f"- {name}: {', '.join(plans[name].cuts)}")


if __name__ == "__main__":
    main()
