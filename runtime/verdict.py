"""Say in sentences what a comparison shows, and what casts doubt on it."""

from optimizer.partitions import OPTIMIZED
from runtime.types import Comparison

FOREIGN_LOAD_LIMIT = 0.05


def verdict(comparison: Comparison) -> list[str]:
    """Return what a comparison says; where stages shared cores, only the prediction speaks of speed."""
    measured = {part.name: part.throughput_samples_per_s.median for part in comparison.partitions}
    predicted = {part.name: part.predicted_throughput_samples_per_s for part in comparison.partitions}
    if not comparison.comparable:
        shared = sharing(comparison.num_stages, len(set(comparison.cores)))
        return [*_faster(comparison, "is predicted to run", predicted), shared]
    return [*_faster(comparison, "ran", measured), *_noise(comparison)]


def sharing(stages: int, cores: int) -> str:
    """Say that stages share cores and what that means."""
    shared = "1 core" if cores == 1 else f"{cores} cores"
    return (
        f"NOT COMPARABLE: {stages} stages shared {shared}, so timings between splits mean little and "
        f"predictions, which give every stage a core, are out of reach; use --stages {cores} or {stages} cores."
    )


def _faster(comparison: Comparison, verb: str, throughput: dict[str, float]) -> list[str]:
    schemes = {name: value for name, value in throughput.items() if name != OPTIMIZED}
    if OPTIMIZED not in throughput or not schemes:
        return []
    if all(part.same_as is not None for part in comparison.partitions if part.name != OPTIMIZED):
        return [f"{comparison.model}: all partitions are the same split."]
    ours = throughput[OPTIMIZED]
    best, worst = max(schemes, key=schemes.__getitem__), min(schemes, key=schemes.__getitem__)
    sentence = f"{comparison.model}: optimized {verb} {ours / schemes[best]:.2f} times as fast as {best}"
    if best == worst:
        return [f"{sentence}."]
    return [f"{sentence}, the fastest scheme, and {ours / schemes[worst]:.2f} times as fast as {worst}, the slowest."]


def _noise(comparison: Comparison) -> list[str]:
    loads = [stage.foreign_load for part in comparison.partitions for stage in part.stages]
    if max(loads) <= FOREIGN_LOAD_LIMIT:
        return []
    sentence = (
        f"NOISY: a stage was kept from its core for up to {max(loads):.0%} of its working time, so these figures are "
        "the machine's as much as the splits'; end what else runs and compare again."
    )
    return [sentence]
