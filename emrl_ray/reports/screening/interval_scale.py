"""Intervals of a shortlist as small bars on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from emrl_ray.crystals.schema import float_column
from emrl_ray.reports.markup import NOTHING, decimals_for, number
from emrl_ray.reports.screening.axes import with_window

WIDTH, HEIGHT, EDGE = 150, 22, 6
"""Of a drawing, and its empty edges left and right; pixels."""
ENDS = ("prediction", "lower", "upper")
"""Columns of an objective that are drawn."""


class IntervalScale(NamedTuple):
    """The scale that the rows of a shortlist share."""

    low: float
    high: float
    window: tuple[float, float] | None
    decimals: int
    """With which numbers are written: three digits of an interval's width."""

    ending: str = ""
    """What the names of the columns end in."""

    @classmethod
    def of(
        cls, rows: pa.Table, window: tuple[float, float] | None, ending: str = ""
    ) -> IntervalScale:
        """Return the scale that holds all finite intervals and predictions.

        It holds the ends of the window too, unless they are far away.
        """
        prediction, lower, upper = (float_column(rows, f"{name}{ending}") for name in ENDS)
        values = np.concatenate([prediction, lower, upper])
        values, widths = values[np.isfinite(values)], (upper - lower)[np.isfinite(upper - lower)]
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        if not high > low:
            low, high = low - 0.5, high + 0.5
        decimals = decimals_for(np.median(widths)) - 1 if len(widths) else decimals_for(high - low)
        return cls(*with_window(low, high, window), window, max(0, decimals), ending)

    def drawing(self, row: Mapping[str, Any]) -> str:
        """Return a row's interval as a bar with its prediction, and in numbers.

        An infinite end reaches the edge of the drawing, where an arrow says that it goes on.
        """
        lower, upper, prediction = (
            _number(row.get(f"{name}{self.ending}")) for name in ("lower", "upper", "prediction")
        )
        if math.isnan(lower) or math.isnan(upper):
            return NOTHING
        left, right, middle = self._place(lower), self._place(upper), HEIGHT / 2
        marks = f'<path class="bar" d="M{left:.1f} {middle:g}H{right:.1f}"/>'
        if math.isinf(lower):
            marks += f'<path class="open" d="M5 {middle - 4:g}L1 {middle:g}L5 {middle + 4:g}"/>'
        if math.isinf(upper):
            marks += (
                f'<path class="open" d="M{WIDTH - 5} {middle - 4:g}L{WIDTH - 1} {middle:g}'
                f'L{WIDTH - 5} {middle + 4:g}"/>'
            )
        if math.isfinite(prediction):
            marks += f'<circle class="value" cx="{self._place(prediction):.1f}" cy="{middle:g}" r="3.5"/>'
        words = f"{number(lower, self.decimals)} to {number(upper, self.decimals)}"
        return (
            f'<svg class="range" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
            f"{self._window()}{marks}</svg><span>{words}</span>"
        )

    def axis(self) -> str:
        """Return the scale itself, for the head of the column."""
        ends = (number(self.low, self.decimals), number(self.high, self.decimals))
        return (
            f'<svg class="range" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{self._window()}'
            f'<path class="scale" d="M{EDGE} 16v5H{WIDTH - EDGE}v-5"/>'
            f'<text x="{EDGE}" y="12">{ends[0]}</text>'
            f'<text class="end" x="{WIDTH - EDGE}" y="12">{ends[1]}</text></svg>'
        )

    def _place(self, value: float) -> float:
        """Return the horizontal place of a value; what is infinite is at the edge."""
        if math.isinf(value):
            return 1.0 if value < 0 else WIDTH - 1.0
        part = (value - self.low) / (self.high - self.low)
        return EDGE + part * (WIDTH - 2 * EDGE)

    @property
    def beyond(self) -> int:
        """On which side of the scale the whole window lies: -1 below, 1 above, 0 neither."""
        if self.window is None:
            return 0
        return (self.window[0] > self.high) - (self.window[1] < self.low)

    @property
    def words(self) -> str:
        """The ends of the scale."""
        return f"{number(self.low, self.decimals)} to {number(self.high, self.decimals)}"

    def _window(self) -> str:
        """Return the shade of the window, or an arrow to the side on which it lies."""
        if self.window is None:
            return ""
        if side := self.beyond:
            tip, back = (WIDTH - 0.5, WIDTH - EDGE - 1) if side > 0 else (0.5, EDGE + 1)
            return f'<path class="aim" d="M{back} 3L{tip} {HEIGHT / 2:g}L{back} {HEIGHT - 3}z"/>'
        low, high = (self._place(min(max(end, self.low), self.high)) for end in self.window)
        low = 0 if self.window[0] < self.low else low
        high = WIDTH if self.window[1] > self.high else high
        return f'<rect class="window" x="{low:.1f}" width="{high - low:.1f}" height="{HEIGHT}"/>'


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
