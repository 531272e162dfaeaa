"""The study's table beside ours, and who wins at which batch size, and why: a page of Markdown from kept comparisons.

    python -m runtime compare --config configs/study.yaml --out results/study
    python benchmarks/study.py results/study > study.md

For each model and batch size the study's times and ours stand beside each other, with their places and the rank
correlation of the two orders: its machines are others and its times hold the start of its processes, so only orders
compare. The update of a weight costs the same whatever the batch size; forward and backward grow with it. So at small
batches a step's time lies where the parameters are, at large ones where the operations are, and the best cut moves.
"""

import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from profiler.files import read_json
from profiler.settings import configs_folder, convert, read_mapping
from runtime.compare import Comparison, Contender, spearman
from runtime.report.findings import answer, called
from runtime.report.warnings import mark

SIZES = "batch_sizes"
STAGES, IMAGE = 4, (3, 128, 128)


def study_s(comparison: Comparison) -> dict[str, float]:
    """Return the study's times for a model and batch size, by scheme; nothing where it has none."""
    entries, asked = read_mapping(configs_folder() / "study-figures.yaml"), comparison.request
    sizes: tuple[int, ...] = convert(entries[SIZES], tuple[int, ...], SIZES)
    fits = asked.num_stages == STAGES and asked.input_shape[1:] == IMAGE and asked.minibatches
    if not fits or asked.model not in entries or asked.batch_size not in sizes:
        return {}
    figures: dict[str, tuple[float, ...]] = convert(
        entries[asked.model], dict[str, tuple[float, ...]], asked.model
    )  # fmt: skip
    return {name: times[sizes.index(asked.batch_size)] for name, times in figures.items()}


def place(times: Mapping[str, float], name: str) -> str:
    """Return a time with its place among all."""
    return f"{times[name]:.2f} | {1 + sorted(times.values()).index(times[name])}" if name in times else "– | –"


def correlation(theirs: Mapping[str, float], ours: Mapping[str, float]) -> str:
    """Return Spearman's rank correlation of what both have."""
    names = [name for name in theirs if name in ours]
    found = spearman([theirs[name] for name in names], [ours[name] for name in names])
    return "–" if found is None else f"{found:.2f}"


def beside_the_study(comparison: Comparison) -> None:
    """Print the study's column for one model and batch size beside ours."""
    parts = {part.name: part for part in comparison.partitions}
    theirs = {name: time_s for name, time_s in study_s(comparison).items() if name in parts}
    if not theirs:
        return
    ours = {name: time_s for name in theirs if (time_s := parts[name].makespan_s)}
    predicted = {name: parts[name].plan.predicted.makespan_s for name in theirs}
    print("\n| scheme | study s | place | measured s | place | predicted s | place |\n|---|---|---|---|---|---|---|")
    for name in sorted(theirs, key=theirs.__getitem__):
        print(f"| {name} | {place(theirs, name)} | {place(ours, name)} | {place(predicted, name)} |")
    print(f"\nOrder against order (Spearman): measured {correlation(theirs, ours)}, "
          f"predicted {correlation(theirs, predicted)}.")  # fmt: skip


def slowest(comparison: Comparison, part: Contender) -> str:
    """Say what the slowest stage is busy with, as predicted, and which layer is heaviest in it."""
    stages = part.plan.stages
    number = max(range(len(stages)), key=lambda own: stages[own].total_s)
    own = {layer.name for layer in comparison.layers}  # of which a plan has blocks and their concat
    inside = {name if name in own else name.rpartition(".")[0] for name in stages[number].layers}
    layer = max((layer for layer in comparison.layers if layer.name in inside), key=lambda layer: layer.step_s)
    update = stages[number].update_s / stages[number].total_s
    return (
        f"{part.name}: slowest stage {number}, {stages[number].total_s * 1e3:.1f} ms ({update:.0%} of it update; "
        f"{layer.name} {layer.step_s * 1e3:.1f} ms)"
    )


def against_the_batch_size(comparisons: list[Comparison]) -> None:
    """Print who wins at each batch size of one model, where a step's time lies there, and why."""
    print("\n| batch | fastest | update share | heaviest layer | why |\n|---|---|---|---|---|")
    for comparison in comparisons:
        ran = comparison.came_through
        whole = sum(layer.step_s for layer in comparison.layers) or 1.0
        heaviest = max(comparison.layers, key=lambda layer: layer.step_s)
        updates = sum(layer.update_s for layer in comparison.layers) / whole
        names = " | ".join([
            str(comparison.request.batch_size),
            f"{called(comparison, ran[0]) if ran else 'nothing ran'}{mark(comparison)}",
            f"{updates:.0%}", f"{heaviest.name}, {heaviest.step_s / whole:.0%}",
            "; ".join(slowest(comparison, part) for part in ran[:2]),
        ])  # fmt: skip
        print(f"| {names} |")


def main() -> None:
    """Print the page."""
    paths = sorted(Path(sys.argv[1]).rglob("comparison.json"))
    kept = [read_json(path, Comparison) for path in paths]
    kept.sort(key=lambda own: (own.request.model, own.request.num_stages, own.request.batch_size))
    for (model, stages), group in groupby(kept, lambda own: (own.request.model, own.request.num_stages)):
        comparisons = list(group)
        print(f"\n## {model}, {stages} stages")
        against_the_batch_size(comparisons)
        for comparison in comparisons:
            print(f"\n### Batch {comparison.request.batch_size}\n{answer(comparison)}")
            beside_the_study(comparison)


if __name__ == "__main__":
    main()
