"""Whether two methods differ, judged by their errors on the same splits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MIN_SPLITS = 3
"""Splits below which nothing is tested."""


class PairedTest(NamedTuple):
    """One method against another on the splits that both have."""

    other: str
    splits: int
    difference: float
    """Mean of the method's MAE minus the other's, NaN without a common split."""
    p: float | None
    """Two-sided; None where there are too few splits."""
    p_holm: float | None
    """The same, corrected for the number of comparisons in the table."""


def corrected_resampled_t_test(
    differences: NDArray[np.float64], n_train: float, n_test: float
) -> float:
    """Return the two-sided p of a mean difference of 0 over J repeated random splits.

    t = mean / sqrt((1/J + n_test/n_train) s²) with J - 1 degrees of freedom, s² the sample variance:
    the training sets overlap, so the plain t-test, which has 1/J alone, finds too many differences
    (Nadeau and Bengio, Machine Learning 52, 239 (2003), section 3). `n_train` and `n_test` are the
    rows of a split, on average.
    """
    count = len(differences)
    mean, variance = differences.mean(), differences.var(ddof=1)
    if variance == 0:
        return float(mean == 0)
    t = mean / math.sqrt((1 / count + n_test / n_train) * variance)
    return float(2 * stats.t.sf(abs(t), count - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values of m tests corrected by Holm's step-down procedure, in the given order.

    The k-th smallest, k = 0..m-1, times m - k, at least the corrected one before it, at most 1
    (Holm, Scandinavian Journal of Statistics 6, 65 (1979)).
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1.0)
    return [float(value) for value in corrected]
