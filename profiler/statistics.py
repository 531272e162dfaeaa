"""The median of a few samples with a 95% bootstrap interval."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats

from profiler.types import Timing

RESAMPLES = 1000
SEED = 0


def interval(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and the 95% percentile-bootstrap interval of the median.

    One sample, or samples that are all equal, have an interval without width.
    """
    median = float(np.median(samples))
    if len(samples) < 2 or min(samples) == max(samples):
        return median, median, median
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
