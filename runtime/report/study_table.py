"""The study's own figures beside ours: its rows in its order, ours in ours, and how far the two orders agree."""

from collections.abc import Mapping
from dataclasses import dataclass

from profiler.settings import configs_folder, convert, read_mapping
from runtime.compare import Comparison, spearman

SIZES = "batch_sizes"
STAGES, IMAGE = 4, (3, 128, 128)


@dataclass(frozen=True, slots=True)
class Row:
    """One scheme: the study's time and rank, and ours.

    Attributes:
        theirs_s: Execution time in the study.
        ours_s: Makespan, the median; None where it did not run.
        predicted_s: Makespan as predicted, each stage on a core of its own.
    """

    name: str
    theirs_s: float
    theirs: int
    ours_s: float | None
    ours: int | None
    predicted_s: float
    predicted: int


@dataclass(frozen=True, slots=True)
class Beside:
    """The study's column for one model and batch size beside our comparison.

    Attributes:
        measured_spearman: Spearman rank correlation of the study's times and our makespans; None for too few rows.
        predicted_spearman: Likewise with our predictions.
    """

    rows: tuple[Row, ...]
    measured_spearman: float | None
    predicted_spearman: float | None


def beside_the_study(comparison: Comparison) -> Beside | None:
    """Return the study's column beside the comparison; None where it has none for it, or runs differ in length."""
    if not comparison.request.minibatches:
        return None
    theirs = _column(comparison)
    parts = {part.name: part for part in comparison.summary.partitions}
    common = [name for name in theirs if name in parts]
    if not common:
        return None
    ours = {name: spread.median for name in common if (spread := parts[name].makespan_s) is not None}
    predicted = {name: parts[name].predicted_makespan_s for name in common}
    places = [_places(times) for times in ({name: theirs[name] for name in common}, ours, predicted)]
    rows = tuple(
        Row(
            name=name,
            theirs_s=theirs[name],
            theirs=places[0][name],
            ours_s=ours.get(name),
            ours=places[1].get(name),
            predicted_s=predicted[name],
            predicted=places[2][name],
        )
        for name in sorted(common, key=theirs.__getitem__)
    )
    return Beside(rows, _spearman(theirs, ours), _spearman(theirs, predicted))


def _column(comparison: Comparison) -> dict[str, float]:
    entries = read_mapping(configs_folder() / "study-figures.yaml")
    fits = comparison.request.num_stages == STAGES and comparison.request.input_shape[1:] == IMAGE
    sizes: tuple[int, ...] = convert(entries[SIZES], tuple[int, ...], SIZES)
    if not fits or comparison.request.model not in entries or comparison.request.batch_size not in sizes:
        return {}
    figures: dict[str, tuple[float, ...]] = convert(
        entries[comparison.request.model], dict[str, tuple[float, ...]], comparison.request.model
    )
    return {name: times[sizes.index(comparison.request.batch_size)] for name, times in figures.items()}


def _places(times: Mapping[str, float]) -> dict[str, int]:
    ordered = sorted(times.values())
    return {name: 1 + ordered.index(time_s) for name, time_s in times.items()}


def _spearman(theirs: Mapping[str, float], ours: Mapping[str, float]) -> float | None:
    names = [name for name in theirs if name in ours]
    return spearman([theirs[name] for name in names], [ours[name] for name in names])
