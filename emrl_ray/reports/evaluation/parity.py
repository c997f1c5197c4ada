"""The parity plot: predicted against true values."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.reports.svg import style, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, KEY = 4.6, 0.8
"""Width and height, and what the scale of counts adds to the width; inches."""
DPI = 200
COLOR, LINE = "#1b5e9b", "#888888"
MAX_INTERVALS = 150
"""With more rows the intervals would hide the points."""
MAX_POINTS = 2000
"""With more rows points would hide each other, and hexagons show how many there are."""
HEXAGONS = 55
"""Hexagons along the horizontal axis."""


class Pictures(NamedTuple):
    """A figure in two formats."""

    png: bytes
    svg: bytes


def parity(
    true: NDArray[np.float64],
    predicted: NDArray[np.float64],
    intervals: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    label: str,
    caption: str,
) -> Pictures:
    """Return the plot of n ≥ 1 rows: points, with their intervals if few, or counts if many.

    `intervals` are the ends (n,) each; `label` names the property and its unit, for both axes.
    Raises ImportError, in one line, without matplotlib.
    """
    with style():
        from matplotlib.figure import Figure

        many = len(true) > MAX_POINTS
        figure = Figure(figsize=(SIZE + KEY * many, SIZE), layout="constrained")
        axes = figure.add_subplot()
        bars = intervals
        if bars is not None and (len(true) > MAX_INTERVALS or not np.isfinite(bars).all()):
            bars = None
        limits = _limits(true, predicted, *(bars or ()))
        axes.plot(limits, limits, color=LINE, linewidth=0.8, zorder=0)
        if many:
            drawn = _counts(axes, true, predicted, limits)
            bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02)
            bar.ax.yaxis.set_major_formatter("{x:,.0f}")
            bar.set_label("crystals")
        else:
            _points(axes, true, predicted)
        if bars is not None:
            axes.vlines(true, *bars, color=COLOR, alpha=0.25, linewidth=0.9)
            caption += "\nbars: intervals"
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set(xlabel=f"true {label}", ylabel=f"predicted {label}")
        axes.text(0.03, 0.97, caption, transform=axes.transAxes, va="top", linespacing=1.4)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=DPI)
        return Pictures(stream.getvalue(), svg(figure, "parity").encode())


def _limits(*values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of both axes: around all that is drawn."""
    low, high = min(float(part.min()) for part in values), max(float(part.max()) for part in values)
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _points(axes: Axes, true: NDArray[np.float64], predicted: NDArray[np.float64]) -> None:
    size = float(np.clip(4000 / len(true), 4, 22))
    axes.scatter(true, predicted, s=size, color=COLOR, alpha=0.7, linewidths=0)


def _counts(
    axes: Axes,
    true: NDArray[np.float64],
    predicted: NDArray[np.float64],
    limits: tuple[float, float],
) -> Any:
    from matplotlib.colors import LogNorm

    return axes.hexbin(
        true,
        predicted,
        gridsize=HEXAGONS,
        extent=(*limits, *limits),
        mincnt=1,
        norm=LogNorm(),
        cmap="viridis",
        linewidths=0.1,
    )
