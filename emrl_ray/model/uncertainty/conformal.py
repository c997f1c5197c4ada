"""How far to believe a prediction: intervals and probabilities from rows kept for calibration."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emrl_ray.config.errors import UserError

METHOD, FIRST_METHOD = "split conformal", "constant split conformal"
FOLDS = 10
MIN_SCALED = 30
"""Rows below which residuals are too few to learn a scale from."""


class IntervalScores(NamedTuple):
    """Mean interval scores of both forms on rows left out in turn; the lower is better."""

    constant: float
    scaled: float


class ConformalCalibration:
    """Residuals (target - prediction) of rows that neither network nor head was fitted to.

    Split conformal prediction, with intervals that are equally wide everywhere or grow with a
    scale σ (Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018), sections 2.2 and 5.2). The scale follows from
    the distance to the nearest known crystal, and is used if it gives the better mean
    interval score (Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359 (2007), eq. 43) on rows left
    out in turn. A calibration row is scaled by what the other rows say, as a new one is. Intervals hold
    their confidence on average over rows that are exchangeable with the calibration rows, not for
    crystals unlike them.
    """

    def __init__(self, residuals: ArrayLike, distances: ArrayLike | None = None) -> None:
        """Keep the residuals (n,), n ≥ 1, in the target's unit; raises UserError if unusable.

        `distances` (n,) are those to the nearest known crystals; without them σ is 1.
        """
        values = np.asarray(residuals, dtype=np.float64).reshape(-1)
        if len(values) == 0 or not np.isfinite(values).all():
            raise UserError(f"calibration needs finite residuals, got {len(values)} rows")
        self.scale, self.scores = CONSTANT, None
        scales = np.ones(len(values))
        if distances is not None and len(values) >= MIN_SCALED:
            far = np.asarray(distances, np.float64)
            self.scores = _left_out_scores(values, far)
            if self.scores.scaled < self.scores.constant:
                self.scale, scales = fit_residual_scale(values, far), _left_out_scales(values, far)
        self.ratios = np.sort(values / scales)
        """(n,) residuals in units of σ, ascending."""

    def half_width(self, confidence: float = 0.9) -> float:
        """Return the ceil((n + 1) · confidence)-th smallest |residual| of n, in units of σ.

        It is infinite where n is too small to promise the confidence: for 0.9 below n = 9.
        """
        if not 0 < confidence < 1:
            raise UserError(f"confidence {confidence}: must lie in (0, 1)")
        return _quantile(np.abs(self.ratios), confidence)

    def interval(
        self,
        predictions: NDArray[np.float64],
        distances: NDArray[np.float64],
        confidence: float = 0.9,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (lower, upper), (B,) each, that hold the target with at least this confidence.

        `distances` (B,) are those to the nearest known crystals. Bounds are infinite where there
        are too few residuals for the confidence, see `half_width`.
        """
        half = self.half_width(confidence) * self.scale.of(distances)
        return predictions - half, predictions + half

    def p_in_window(
        self,
        predictions: NDArray[np.float64],
        distances: NDArray[np.float64],
        low: float,
        high: float,
    ) -> NDArray[np.float64]:
        """Return (B,), the share of residuals r with low ≤ prediction + r ≤ high.

        The residuals are those in units of σ times the σ of each prediction. An open end is infinite.
        """
        if not low <= high:
            raise UserError(f"window {low}:{high}: its low end must not be above its high end")
        scales = self.scale.of(distances)
        below = np.searchsorted(self.ratios, (low - predictions) / scales, side="left")
        within = np.searchsorted(self.ratios, (high - predictions) / scales, side="right")
        return (within - below) / len(self.ratios)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs, as plain values, and the scores that chose the form."""
        return {
            "method": METHOD,
            "scale": self.scale._asdict(),
            "ratios": self.ratios.tolist(),
            "interval_scores": self.scores._asdict() if self.scores else None,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the calibration that `to_json` was called on.

        Raises UserError for another method, KeyError if an entry is missing.
        """
        method = values["method"]
        if method == FIRST_METHOD:
            return cls(values["residuals"])
        if method != METHOD:
            raise UserError(f"calibration method {method!r}: must be {METHOD!r}")
        made = cls(values["ratios"])
        made.scale = ResidualScale(**values["scale"])
        if values["interval_scores"] is not None:
            made.scores = IntervalScores(**values["interval_scores"])
        return made


def residuals_of_best(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) residuals of the best of h heads, given those of each (h, n) on the same rows.

    A row is judged by the head with the least mean absolute error on the other rows, as a new one
    is judged by a head that was chosen without it. By the head that is best on all rows, the row
    itself included, intervals would be too narrow.
    """
    errors = np.abs(residuals)
    best = (errors.sum(axis=1, keepdims=True) - errors).argmin(axis=0)
    return residuals[best, np.arange(residuals.shape[1])]


def interval_score(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    targets: NDArray[np.float64],
    confidence: float = 0.9,
) -> NDArray[np.float64]:
    """Return (B,), width and the penalty for a target outside (Gneiting and Raftery 2007, eq. 43)."""
    outside = np.maximum(lower - targets, 0) + np.maximum(targets - upper, 0)
    return upper - lower + 2 / (1 - confidence) * outside


def _quantile(sizes: NDArray[np.float64], confidence: float) -> float:
    """Return the ceil((n + 1) · confidence)-th smallest of sizes (n,), infinity beyond the last."""
    rank = math.ceil((len(sizes) + 1) * confidence - 1e-9)  # 1e-9: 0.9 is not exact
    return math.inf if rank > len(sizes) else float(np.sort(sizes)[rank - 1])


def _folds(n: int) -> NDArray[np.int64]:
    """Return (n,) the fold of each row; rows of one fold do not follow from their order."""
    return np.random.default_rng(0).permutation(n) % FOLDS


def _left_out_scales(
    residuals: NDArray[np.float64], distances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return σ (n,) of each row by the scale that the rows of the other folds give."""
    folds, scales = _folds(len(residuals)), np.empty(len(residuals))
    for fold in range(FOLDS):
        out = folds == fold
        scales[out] = fit_residual_scale(residuals[~out], distances[~out]).of(distances[out])
    return scales


def _left_out_scores(
    residuals: NDArray[np.float64], distances: NDArray[np.float64]
) -> IntervalScores:
    """Return the mean scores of both forms, each fold judged by what the other folds give."""
    folds = _folds(len(residuals))
    scores = np.empty((2, len(residuals)))
    for fold in range(FOLDS):
        out = folds == fold
        rest, far = residuals[~out], distances[~out]
        constant = np.full(int(out.sum()), _quantile(np.abs(rest), 0.9))
        ratios = np.abs(rest) / _left_out_scales(rest, far)
        scaled = _quantile(ratios, 0.9) * fit_residual_scale(rest, far).of(distances[out])
        for form, half in enumerate((constant, scaled)):
            scores[form, out] = interval_score(-half, half, residuals[out])
    return IntervalScores(*scores.mean(axis=1).tolist())


NEARLY_ZERO = 0.05
"""Added to |residual|, in means of it, so that a residual that happens to be tiny does not count for much."""
SHORTEST = 1e-3
"""Added to a distance, in medians of it: a known crystal has the distance 0."""
SHRINKAGE = 5
"""Rows that speak for no dependence."""
STEEPEST = 1.5
"""σ lies within a factor e^±1.5 of its middle: beyond what was seen it does not go on growing."""


class ResidualScale(NamedTuple):
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


CONSTANT = ResidualScale(slope=0.0, middle=0.0, shortest=1.0)


def fit_residual_scale(
    residuals: NDArray[np.float64], distances: NDArray[np.float64]
) -> ResidualScale:
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
    growth = np.log(sizes + NEARLY_ZERO * sizes.mean())
    spread = float(((along - middle) ** 2).sum()) * (1 + SHRINKAGE / len(sizes))
    slope = float((along - middle) @ growth) / spread if spread else 0.0
    return ResidualScale(max(slope, 0.0), middle, shortest)
