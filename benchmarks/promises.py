"""How well promises are kept: the audits of comparisons, brought together.

    python -m runtime compare --model alexnet --batch-size 4 --stages 2 --full --out results/alexnet-4-2
    python benchmarks/promises.py results/*/comparison.json

A line for each comparison: over its distinct splits the mean and the largest error of the throughput with the machine's
pace taken out, as it was without that; how much more was promised for the most even split than for the others, in
points; how many medians lie in their promised intervals; and the rank correlation over splits that differ by more than
5%. Leave the machine alone while comparisons run.
"""

import argparse
import statistics
from pathlib import Path

from profiler.files import read_json
from runtime.compare import Comparison, spearman

DIFFER = 0.05


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    found = [read_json(path, Comparison) for path in parser.parse_args().files]
    print(", ".join(dict.fromkeys(f"{each.machine.cpu}, torch {each.machine.torch}" for each in found)))
    print("| model | batch | stages | clock | splits | error | largest | as it was | most even | kept | order | pace |")
    print("|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for each in found:
        print(line(each))


def line(comparison: Comparison) -> str:
    """Return a comparison's line of the table."""
    audit, request = comparison.audit, comparison.request
    errors = [split.settled_error for split in audit.splits]
    totals = {part.name: [stage.total_s for stage in part.plan.stages] for part in comparison.partitions}
    even = min(audit.splits, key=lambda split: max(totals[split.partition]) / statistics.mean(totals[split.partition]))
    others = [split.settled_error for split in audit.splits if split is not even]
    bias = even.settled_error - statistics.mean(others) if others else 0.0
    order = ordered([(1 / split.predicted_s, 1 / split.settled_s) for split in audit.splits])
    mean, largest = statistics.mean(map(abs, errors)), max(map(abs, errors))
    return (
        f"| {request.model} | {request.batch_size} | {request.num_stages} | {comparison.clock} | {len(errors)} "
        f"| {mean:.1%} | {largest:.1%} | {audit.mean_absolute_error or 0:.1%} "
        f"| {100 * bias:+.1f} | {'–' if order is None else f'{order:.2f}'} "
        f"| {audit.pace or 1:.2f} |"
    )


def ordered(pairs: list[tuple[float, float]]) -> float | None:
    """Return the rank correlation, splits that are measured nearly alike counted as one."""
    apart: list[tuple[float, float]] = []
    for promised, measured in sorted(pairs, key=lambda pair: pair[1]):
        if not apart or measured > apart[-1][1] * (1 + DIFFER):
            apart.append((promised, measured))
    return spearman([promised for promised, _ in apart], [measured for _, measured in apart])


if __name__ == "__main__":
    main()
