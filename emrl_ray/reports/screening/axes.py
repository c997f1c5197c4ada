"""Axes of a small figure as SVG: from data to pixels, ticks, and the marks that are drawn there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emrl_ray.reports.markup import decimals_for, number, text
from emrl_ray.screening.statistics import nice_step

LEFT, RIGHT, TOP, BOTTOM = 70, 12, 10, 44
"""Margins around the plane of a figure, pixels."""


def ticks(low: float, high: float, count: int = 6, least: float = 0.0) -> NDArray[np.float64]:
    """Return round numbers within [low, high], about `count` of them and `least` or more apart."""
    step = max(nice_step(high - low, count), least)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    found = step * np.arange(first, last + 1, dtype=np.float64)
    return np.clip(found, low, high)  # a product may miss an end by its last bit


def with_window(low: float, high: float, window: tuple[float, float] | None) -> tuple[float, float]:
    """Return an axis that also holds the ends of the window, unless they are far away."""
    span = high - low
    near = [end for end in window or () if low - span <= end <= high + span]
    return min([low, *near]), max([high, *near])


class Axes(NamedTuple):
    """A plane with a scale along each side."""

    x: tuple[float, float]
    """Ends of the horizontal axis, in the unit of the data."""
    y: tuple[float, float]
    """Ends of the vertical axis."""
    width: int = 520
    """Of the whole figure, pixels."""
    height: int = 320
    """Of the whole figure, pixels."""

    def across(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the horizontal places of values, pixels; what is beyond an end stays there."""
        low, high = self.x
        part = (np.clip(np.asarray(values, np.float64), low, high) - low) / (high - low)
        return LEFT + part * (self.width - LEFT - RIGHT)

    def up(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the vertical places of values, pixels; what is beyond an end stays there."""
        low, high = self.y
        part = (np.clip(np.asarray(values, np.float64), low, high) - low) / (high - low)
        return self.height - BOTTOM - part * (self.height - TOP - BOTTOM)

    def drawing(self, label: str, *parts: str) -> str:
        """Return the figure; `label` says what it shows to who does not see it."""
        inner = "\n".join(part for part in parts if part)
        return (
            f'<svg class="plot" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{text(label)}">\n{inner}\n</svg>'
        )

    def frame(
        self, x_label: str, y_label: str, *, numbered: bool = True, whole: bool = False
    ) -> str:
        """Return axes with their labels, and with ticks and thin lines across unless there are none.

        `whole` says that the vertical axis counts.
        """
        left, right = LEFT, self.width - RIGHT
        top, bottom = TOP, self.height - BOTTOM
        parts = [f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>']
        if numbered:
            x_ticks, y_ticks = ticks(*self.x), ticks(*self.y, 5, float(whole))
            lines = "".join(f"M{left} {place:.1f}H{right}" for place in self.up(y_ticks))
            parts.insert(0, f'<path class="grid" d="{lines}"/>')
            for value, place in zip(_labels(x_ticks), self.across(x_ticks), strict=True):
                parts.append(f'<text x="{place:.1f}" y="{bottom + 17}">{value}</text>')
            for value, place in zip(_labels(y_ticks), self.up(y_ticks), strict=True):
                parts.append(f'<text class="end" x="{left - 6}" y="{place + 4:.1f}">{value}</text>')
        middle, height = (left + right) / 2, (top + bottom) / 2
        parts.append(f'<text x="{middle:.0f}" y="{self.height - 7}">{text(x_label)}</text>')
        parts.append(
            f'<text transform="translate(13 {height:.0f}) rotate(-90)">{text(y_label)}</text>'
        )
        return "\n".join(parts)

    def window(self, bounds: tuple[float, float] | None) -> str:
        """Return the shade of a window of the horizontal axis; an open end reaches the edge."""
        if bounds is None or bounds[1] < self.x[0] or bounds[0] > self.x[1]:
            return ""
        low, high = self.across(bounds)
        return (
            f'<rect class="window" x="{low:.1f}" y="{TOP}" width="{max(high - low, 1):.1f}" '
            f'height="{self.height - TOP - BOTTOM}"/>'
        )

    def dots(self, x: ArrayLike, y: ArrayLike, kind: str) -> str:
        """Return a dot a point, all of them one path; `kind` is its class in the style sheet."""
        places = zip(self.across(x), self.up(y), strict=True)
        path = "".join(f"M{left:.1f} {down:.1f}h.01" for left, down in places)
        return f'<path class="dots {kind}" d="{path}"/>' if path else ""

    def line(self, x: ArrayLike, y: ArrayLike, kind: str) -> str:
        """Return a line through points; `kind` is its class in the style sheet."""
        places = zip(self.across(x), self.up(y), strict=True)
        points = " ".join(f"{left:.1f},{down:.1f}" for left, down in places)
        return f'<polyline class="line {kind}" points="{points}"/>'


def _labels(values: NDArray[np.float64]) -> Sequence[str]:
    """Return ticks as text with the same, least number of decimals."""
    step = float(values[1] - values[0]) if len(values) > 1 else 1.0
    large = len(values) > 0 and float(np.abs(values).max()) >= 1000
    decimals = max(0, decimals_for(step) - 3)
    return [f"{value:,.0f}" if large else number(float(value), decimals) for value in values]
