"""The median of samples with a 95% bootstrap interval, and what the samples say about the machine."""

import warnings
from collections.abc import Sequence

import numpy as np

from profiler.profile import Timing

RESAMPLES = 1000
SEED = 0


def interval(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and the 95% percentile-bootstrap interval of the median.

    One sample, or samples that are all equal, have an interval without width.
    """
    median = float(np.median(samples))
    if len(samples) < 2 or min(samples) == max(samples):
        return median, median, median
    from scipy import stats  # a second and more, which a run that measures nothing does without

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            (np.asarray(samples),), np.median, n_resamples=RESAMPLES, method="percentile", rng=SEED
        )
    return median, float(result.confidence_interval.low), float(result.confidence_interval.high)


def timing(samples: Sequence[float]) -> Timing:
    """Return the samples with their median and interval."""
    median, low, high = interval(samples)
    return Timing(median_s=median, low_s=low, high_s=high, samples_s=tuple(samples))


def foreign_load(wall_s: Sequence[float], cpu_s: Sequence[float]) -> float:
    """Return the share of the time in which the core did not work for us; 0 at the least, and of no time."""
    return max(0.0, 1 - sum(cpu_s) / sum(wall_s)) if sum(wall_s) else 0.0
