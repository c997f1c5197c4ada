"""The size of residuals by the distance to the nearest known crystal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEARLY_NONE = 0.05
"""Added to |residual|, in means of it, so that a residual that happens to be tiny does not count for much."""
SHORTEST = 1e-3
"""Added to a distance, in medians of it: a known crystal has the distance 0."""
SHRINKAGE = 5
"""Rows that speak for no dependence."""
STEEPEST = 1.5
"""σ lies within a factor e^±1.5 of its middle: beyond what was seen it does not go on growing."""


class Scale(NamedTuple):
    """σ of a distance d: ln σ = slope · (ln (d + shortest) - middle), within ±`STEEPEST`."""

    slope: float
    middle: float
    shortest: float

    def of(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return σ (B,) of distances (B,); 1 where a distance is not known (NaN)."""
        if self.slope == 0:
            return np.ones(len(distances))
        exponent = self.slope * (np.log(distances + self.shortest) - self.middle)
        return np.exp(np.nan_to_num(exponent, nan=0.0).clip(-STEEPEST, STEEPEST))


CONSTANT = Scale(slope=0.0, middle=0.0, shortest=1.0)


def fit_scale(residuals: NDArray[np.float64], distances: NDArray[np.float64]) -> Scale:
    """Return the scale of residuals (n,) at distances (n,): a line through their logarithms.

    Residuals that get smaller with the distance are taken for chance: the slope is at least 0.
    """
    known = np.isfinite(distances)
    sizes, far = np.abs(residuals[known]), distances[known]
    if len(sizes) < 2 or not far.any() or not sizes.any():
        return CONSTANT
    shortest = SHORTEST * float(np.median(far)) or float(far.max())
    along = np.log(far + shortest)
    middle = float(along.mean())
    growth = np.log(sizes + NEARLY_NONE * sizes.mean())
    spread = float(((along - middle) ** 2).sum()) * (1 + SHRINKAGE / len(sizes))
    slope = float((along - middle) @ growth) / spread if spread else 0.0
    return Scale(max(slope, 0.0), middle, shortest)
