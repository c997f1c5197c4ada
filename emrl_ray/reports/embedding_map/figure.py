"""The picture of a map: a column a model, a row a colouring, equal panels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.reports.embedding_map.colorings import NO_VALUE, Categories, ColorScale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

PANEL, KEY, MARGIN, TITLES = 3.0, 1.7, 0.35, 0.48
"""Width of a panel and of the keys, the margins, the height of the titles; inches."""
GAP = 0.12
"""Between panels, inches."""
DPI = 200
POINTS = 9000.0
"""Area of all markers of a panel together, square points, within the limits below."""
MIN_AREA, MAX_AREA = 1.5, 16.0


class Panel(NamedTuple):
    """The map of one model."""

    title: str
    """Name of the model."""
    subtitle: str
    """What it is."""
    points: NDArray[np.float64]
    """(N, 2) place of each row; t-SNE's axes have no unit."""

    @property
    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ends of the horizontal and of the vertical axis: a square around all points."""
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        half = 0.53 * float((high - low).max())
        x, y = ((low + high) / 2).tolist()
        return (x - half, x + half), (y - half, y + half)


def draw(panels: Sequence[Panel], colorings: Sequence[ColorScale | Categories]) -> bytes:
    """Return the picture of one or more panels in one or more colourings, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = len(panels) * (PANEL + GAP) + KEY + MARGIN
    high = len(colorings) * (PANEL + GAP) + TITLES + MARGIN
    figure = Figure(figsize=(wide, high), dpi=DPI)
    FigureCanvasAgg(figure)
    rows = len(panels[0].points)
    order = np.random.default_rng(0).permutation(rows)  # else the last kind hides the others
    area = float(np.clip(POINTS / rows, MIN_AREA, MAX_AREA))
    for row, coloring in enumerate(colorings):
        bottom = MARGIN + (len(colorings) - 1 - row) * (PANEL + GAP)
        for column, panel in enumerate(panels):
            left = MARGIN + column * (PANEL + GAP)
            axes = figure.add_axes((left / wide, bottom / high, PANEL / wide, PANEL / high))
            mappable = _scatter(axes, panel.points[order], coloring, order, area)
            _frame(axes, panel, first=column == 0, last=row == len(colorings) - 1)
            if row == 0:
                axes.set_title(_shortened(panel.title), fontsize=10, fontweight="bold", pad=18)
                axes.text(
                    *(0.5, 1.02, _shortened(panel.subtitle)),
                    transform=axes.transAxes,
                    ha="center",
                    fontsize=8,
                )
        left = MARGIN + len(panels) * (PANEL + GAP)
        if isinstance(coloring, Categories):
            place = (left / wide, bottom / high, (KEY - GAP) / wide, PANEL / high)
            _legend(figure.add_axes(place), coloring)
        elif mappable is not None:
            place = (left / wide, (bottom + 0.15) / high, 0.16 / wide, (PANEL - 0.3) / high)
            bar = figure.colorbar(mappable, cax=figure.add_axes(place), extend=_ends(coloring))
            bar.set_label(coloring.label, fontsize=9)
            bar.ax.tick_params(labelsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _scatter(
    axes: Axes,
    points: NDArray[np.float64],
    coloring: ColorScale | Categories,
    order: NDArray[np.int64],
    area: float,
) -> ScalarMappable | None:
    """Draw the points and return what a colour bar needs; rows without a value lie below."""
    style: dict[str, Any] = {"s": area, "linewidths": 0, "rasterized": True}
    if isinstance(coloring, Categories):
        colors = np.array(coloring.colors)[coloring.codes[order]]
        axes.scatter(points[:, 0], points[:, 1], c=colors.tolist(), **style)
        return None
    values = coloring.values[order]
    known = ~np.isnan(values)
    axes.scatter(points[~known, 0], points[~known, 1], c=NO_VALUE, **style)
    return axes.scatter(
        points[known, 0],
        points[known, 1],
        c=values[known],
        cmap=coloring.colors.lower(),
        vmin=coloring.low,
        vmax=coloring.high,
        **style,
    )


def _frame(axes: Axes, panel: Panel, *, first: bool, last: bool) -> None:
    x, y = panel.limits
    axes.set(xlim=x, ylim=y, xticks=[], yticks=[])
    axes.set_xlabel("t-SNE 1" if last else "", fontsize=8)
    axes.set_ylabel("t-SNE 2" if first else "", fontsize=8)
    for spine in axes.spines.values():
        spine.set(linewidth=0.6, color="#666666")


def _legend(axes: Axes, kinds: Categories) -> None:
    from matplotlib.lines import Line2D

    axes.set_axis_off()
    counts = np.bincount(kinds.codes, minlength=len(kinds.names))
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=6, color=color, label=f"{name} ({n:,})")
        for name, color, n in zip(kinds.names, kinds.colors, counts, strict=True)
    ]
    legend = axes.legend(
        handles=handles,
        title=kinds.label,
        loc="center left",
        frameon=False,
        fontsize=8,
        title_fontsize=9,
        borderaxespad=0,
        handletextpad=0.2,
    )
    legend.set_alignment("left")


def _ends(scale: ColorScale) -> str:
    """Return at which ends of a scale there are values beyond it, in matplotlib's words."""
    known = scale.values[~np.isnan(scale.values)]
    below, above = bool((known < scale.low).any()), bool((known > scale.high).any())
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]


def _shortened(text: str, length: int = 36) -> str:
    return text if len(text) <= length else f"...{text[3 - length :]}"
