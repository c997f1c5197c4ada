"""How far to believe a prediction: intervals and probabilities from rows kept for calibration."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

METHOD = "constant split conformal"


class Calibration:
    """Residuals (target - prediction) of rows that neither network nor head was fitted to.

    Constant split conformal prediction (Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018)): the
    intervals are equally wide everywhere, and hold their confidence on average over rows that are
    exchangeable with the calibration rows, not for crystals unlike them.
    """

    def __init__(self, residuals: ArrayLike) -> None:
        """Keep the residuals (n,), n ≥ 1, in the target's unit; raises ValueError if unusable."""
        values = np.sort(np.asarray(residuals, dtype=np.float64).reshape(-1))
        if len(values) == 0 or not np.isfinite(values).all():
            raise ValueError(f"calibration needs finite residuals, got {len(values)} rows")
        self.residuals = values
        """(n,), ascending."""

    def half_width(self, confidence: float = 0.9) -> float:
        """Return the ceil((n + 1) · confidence)-th smallest |residual| of n.

        It is infinite where n is too small to promise the confidence: for 0.9 below n = 9.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence {confidence}: must lie in (0, 1)")
        rank = math.ceil((len(self.residuals) + 1) * confidence - 1e-9)  # 1e-9: 0.9 is not exact
        if rank > len(self.residuals):
            return math.inf
        return float(np.sort(np.abs(self.residuals))[rank - 1])

    def interval(
        self, predictions: NDArray[np.float64], confidence: float = 0.9
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (lower, upper), (B,) each, that hold the target with at least this confidence.

        They are infinite where there are too few residuals for it, see `half_width`.
        """
        half = self.half_width(confidence)
        return predictions - half, predictions + half

    def p_in_window(
        self, predictions: NDArray[np.float64], low: float, high: float
    ) -> NDArray[np.float64]:
        """Return (B,), the share of residuals r with low ≤ prediction + r ≤ high.

        An open end is infinite.
        """
        if not low <= high:
            raise ValueError(f"window {low}:{high}: its low end must not be above its high end")
        below = np.searchsorted(self.residuals, low - predictions, side="left")
        within = np.searchsorted(self.residuals, high - predictions, side="right")
        return (within - below) / len(self.residuals)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs, as plain values."""
        return {"method": METHOD, "residuals": self.residuals.tolist()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the calibration that `to_json` was called on; raises ValueError for another method."""
        if values.get("method") != METHOD:
            raise ValueError(f"calibration method {values.get('method')!r}: must be {METHOD!r}")
        return cls(values["residuals"])
