"""Rows that a model's regressor was not fitted to, and how many of them its intervals hold."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.crystals.schema import float_column
from emrl_ray.model.uncertainty import ConformalCalibration
from emrl_ray.reports.screening.model_folder import sampled
from emrl_ray.training.evaluation import fraction_within

STORED = 0.9
"""Confidence of the intervals that a model keeps."""
CONFIDENCES = np.arange(0.05, 1.0, 0.05)
"""Nominal confidences at which coverage is measured."""
MIN_ROWS = 20
"""Calibration rows below which no coverage by confidence is drawn."""


class HeldOut(NamedTuple):
    """Rows of one part that the head was not fitted to, (n,) each."""

    target: NDArray[np.float64]
    prediction: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @property
    def covered(self) -> int:
        """Rows whose target lies in the interval."""
        return int(fraction_within(self.lower, self.upper, self.target).sum())

    @property
    def scores(self) -> NDArray[np.float64]:
        """|target - prediction| in half widths of the interval; NaN where that is infinite."""
        half = (self.upper - self.lower) / 2
        finite = np.isfinite(half) & (half > 0)
        return np.where(finite, np.abs(self.target - self.prediction), np.nan) / np.where(
            finite, half, 1
        )


def held_out_parts(held_out: pa.Table | None) -> dict[str, HeldOut]:
    """Return the rows of calibration and test that have a target and a prediction."""
    if held_out is None:
        return {}
    found = {}
    for part in ("calibration", "test"):
        rows = held_out.filter(pc.equal(held_out.column("part"), part))
        values = HeldOut(*(float_column(rows, name) for name in HeldOut._fields))
        there = np.isfinite(values.target) & np.isfinite(values.prediction)
        if there.any():
            found[part] = HeldOut(*(column[there] for column in values))
    return found


def stretch(calibration: ConformalCalibration | None, confidence: float) -> float | None:
    """Return by what the half widths of the stored intervals grow for another confidence.

    None where a calibration that tells it is lacking; infinite where its rows are too few.
    """
    if confidence == STORED:
        return 1.0
    stored = calibration.half_width(STORED) if calibration else math.inf
    if calibration is None or not math.isfinite(stored) or stored == 0:
        return None
    return calibration.half_width(confidence) / stored


def stretched(rows: HeldOut, factor: float) -> HeldOut:
    """Return rows with intervals `factor` times as wide."""
    below, above = rows.prediction - rows.lower, rows.upper - rows.prediction
    return rows._replace(
        lower=rows.prediction - factor * below, upper=rows.prediction + factor * above
    )


def thinned(rows: HeldOut) -> HeldOut:
    """Return the rows, or of many some at random, for a drawing."""
    table = sampled(pa.table(rows._asdict()))
    return HeldOut(*(float_column(table, name) for name in HeldOut._fields))


def median_half_width(parts: dict[str, HeldOut]) -> float:
    """Return the median half width of the stored intervals, infinite where there are none."""
    halves = np.concatenate([(rows.upper - rows.lower) / 2 for rows in parts.values()])
    halves = halves[~np.isnan(halves)]
    return float(np.median(halves)) if len(halves) else math.inf


def coverage(
    test: HeldOut | None, calibration: ConformalCalibration | None
) -> NDArray[np.float64] | None:
    """Return (2, n) nominal confidences and the shares of test rows that are covered at these.

    None without test rows with finite intervals, or with fewer than `MIN_ROWS` calibration rows.
    """
    if test is None or calibration is None or len(calibration.ratios) < MIN_ROWS:
        return None
    factors = [stretch(calibration, float(confidence)) for confidence in CONFIDENCES]
    held = [float((test.scores <= factor).mean()) for factor in factors if factor is not None]
    if np.isnan(test.scores).any() or len(held) < len(CONFIDENCES):
        return None
    return np.array([CONFIDENCES, held])
