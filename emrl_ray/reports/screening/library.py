"""What the whole library looks like to the model: predictions, map, rejects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.schema import float_column
from emrl_ray.reports.markup import (
    NONE_PREDICTED,
    bars,
    counted,
    decimals_for,
    figure,
    legend,
    number,
    paragraph,
    section,
    text,
)
from emrl_ray.reports.screening.axes import Axes, with_window
from emrl_ray.reports.screening.run_folder import ScreeningRun, count_rejects
from emrl_ray.screening.statistics import LibrarySummary

LEVELS = 7
"""Shades of the density on the map."""


def predictions_section(run: ScreeningRun, library: LibrarySummary | None) -> str:
    """Return the histogram of all predictions."""
    what = f"Predictions of {run.first.target}" if run.several else "Predictions"
    title = f"{what} over the whole library"
    if library is None:
        return section("predictions", title, paragraph(NONE_PREDICTED, "note"))
    edges, low, high = library.bins.prediction, library.in_domain, library.out_of_domain
    left, right = with_window(float(edges[0]), float(edges[-1]), run.first.window)
    axes = Axes((left, right), (0, max(1, 1.06 * float((low + high).max()))), width=600)
    drawing = axes.drawing(
        f"Histogram of {counted(library.rows, 'prediction')}",
        axes.window(run.first.window),
        axes.frame(run.first.label, "candidates", whole=True),
        _columns(axes, edges, np.zeros_like(low), low, "library"),
        _columns(axes, edges, low, low + high, "outside"),
    )
    judged = library.judged > 0
    key = legend(
        [
            ("library", "in domain" if judged else "candidates"),
            ("outside", "out of domain" if judged else ""),
            ("window", "window asked for" if axes.window(run.first.window) else ""),
        ]
    )
    return section("predictions", title, figure(drawing, _about_histogram(run, library), key))


def _columns(
    axes: Axes,
    edges: NDArray[np.float64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    kind: str,
) -> str:
    """Return the bars of a histogram from `low` to `high`, one path."""
    sides, bottom, top = axes.across(edges), axes.up(low), axes.up(high)
    path = "".join(
        f"M{sides[at]:.1f} {bottom[at]:.1f}V{top[at]:.1f}H{sides[at + 1] - 0.6:.1f}V{bottom[at]:.1f}z"
        for at in np.flatnonzero(high > low)
    )
    return f'<path class="{kind}" d="{path}"/>' if path else ""


def _about_histogram(run: ScreeningRun, library: LibrarySummary) -> str:
    said = []
    if run.first.window:
        within, trusted = library.in_window
        lie = "lies" if within == 1 else "lie"
        said.append(
            f"{within:,} of {counted(library.rows, 'prediction')} {lie} in the window"
            + (f", {trusted:,} of them in domain." if library.judged else ".")
        )
        said.append(_window_beyond(run.first.window, library))
    below, above = library.beyond
    edges = library.bins.prediction
    ends = [
        number(float(end), decimals_for(float(edges[-1] - edges[0])) - 1) for end in edges[[0, -1]]
    ]
    beyond = [(below, f"below {ends[0]}"), (above, f"above {ends[1]}")]
    if undrawn := [f"{count:,} {where}" for count, where in beyond if count]:
        said.append(f"Not drawn: {' and '.join(undrawn)}.")
    drawn = int(library.in_domain.sum() + library.out_of_domain.sum())
    if nameless := library.rows - drawn - below - above:
        said.append(f"{counted(nameless, 'row has', 'rows have')} no number.")
    if run.several:
        said.append("The other objectives' predictions are in the table and in predictions/.")
    return " ".join(filter(None, said))


def _window_beyond(window: tuple[float, float], library: LibrarySummary) -> str:
    """Return on which side of the drawing a window lies that is not in it, in a sentence."""
    left, right = with_window(
        float(library.bins.prediction[0]), float(library.bins.prediction[-1]), window
    )
    if window[0] > right:
        return "The window lies to the right, beyond what is drawn."
    return "The window lies to the left, beyond what is drawn." if window[1] < left else ""


def map_section(run: ScreeningRun, library: LibrarySummary | None) -> str:
    """Return the map of the embedding space: library, training set and shortlist."""
    title = "Map of the embedding space"
    if library is None:
        return section("map", title, paragraph(NONE_PREDICTED, "note"))
    if library.bins.map_x is None or library.bins.map_y is None:
        return section("map", title, paragraph("This run or its model has no map.", "note"))
    known, listed = _places(run.first.model.reference), _places(run.shortlist)
    x, y = (
        _around([edges[0], edges[-1], *places])
        for edges, places in (
            (library.bins.map_x, np.concatenate([known[0], listed[0]])),
            (library.bins.map_y, np.concatenate([known[1], listed[1]])),
        )
    )
    axes = Axes(x, y, width=600, height=500)
    drawing = axes.drawing(
        "Map of the library, the training set and the shortlist",
        axes.frame("map, first axis", "map, second axis", numbered=False),
        *_density(axes, library),
        axes.dots(*known, "known"),
        *_marks(axes, run.shortlist),
    )
    key = legend(
        [
            ("level4", "library: the darker, the more candidates"),
            ("dot known", "training set" if len(known[0]) else ""),
            ("dot listed", "shortlist"),
        ]
    )
    words = (
        "Crystals are near each other where their embeddings are; the axes have no unit. Point at a "
        "mark of the shortlist to read what it is."
    )
    if beyond := library.rows - int(library.density.sum()):
        have = counted(beyond, "candidate has", "candidates have")
        words += f" {have} no place or one beyond the map."
    if not len(known[0]):
        words += " The model keeps no places of its training set."
    if len(run.models) > 1:
        words += f" The embedding space is that of the model of {next(iter(run.models))}."
    return section("map", title, figure(drawing, words, key))


def _places(rows: pa.Table | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the places (n,) x and y of those rows that have one."""
    if rows is None:
        return np.zeros(0), np.zeros(0)
    x, y = (float_column(rows, name) for name in ("map_x", "map_y"))
    there = np.isfinite(x) & np.isfinite(y)
    return x[there], y[there]


def _around(values: list[float]) -> tuple[float, float]:
    low, high = float(min(values)), float(max(values))
    edge = 0.02 * (high - low)
    return low - edge, high + edge


def _density(axes: Axes, library: LibrarySummary) -> Iterator[str]:
    """Yield the bins of the map that have rows, one path a shade; shades are steps of the logarithm."""
    assert library.bins.map_x is not None
    assert library.bins.map_y is not None
    counts = library.density
    scale = np.log(max(2, counts.max()))
    level = np.where(counts > 0, 1 + LEVELS * np.log(np.maximum(counts, 1)) / scale, 0).astype(int)
    level = level.clip(max=LEVELS)
    x, y = axes.across(library.bins.map_x), axes.up(library.bins.map_y)
    for shade in range(1, LEVELS + 1):
        path = "".join(
            f"M{x[i]:.1f} {y[j]:.1f}H{x[i + 1]:.1f}V{y[j + 1]:.1f}H{x[i]:.1f}z"
            for i, j in np.argwhere(level == shade)
        )
        if path:
            yield f'<path class="level{shade}" d="{path}"/>'


def _marks(axes: Axes, rows: pa.Table) -> Iterator[str]:
    """Yield a mark a row of the shortlist, the best last and so on top, each with its name."""
    if not {"map_x", "map_y"} <= set(rows.column_names):
        return
    named = [
        name for name in ("rank", "id", "formula", "map_x", "map_y") if name in rows.column_names
    ]
    for row in reversed(rows.select(named).to_pylist()):
        place = row["map_x"], row["map_y"]
        if any(value is None or not np.isfinite(value) for value in place):
            continue
        name = f"{row.get('rank')}: {row.get('formula') or ''} ({row['id']})"
        yield (
            f'<circle class="listed" cx="{float(axes.across(place[0])):.1f}" '
            f'cy="{float(axes.up(place[1])):.1f}" r="4.5"><title>{text(name)}</title></circle>'
        )


def rejects_section(run: ScreeningRun) -> str:
    """Return what was rejected, by reason."""
    title = "Rejects"
    if run.rejects is None:
        found = run.counts.get("rejects")
        if found is None:
            return section("rejects", title, paragraph("This run keeps no rejects.", "note"))
        rows = [(reason.replace("_", " "), count, "") for reason, count in found.items()]
    else:
        counts, examples = count_rejects(run.rejects)
        rows = [
            (f"{kind.reason.replace('_', ' ')} ({kind.stage})", count, examples[kind])
            for kind, count in counts.most_common()
        ]
    if not rows:
        return section("rejects", title, paragraph("No candidate was rejected."))
    total = sum(count for _, count, _ in rows)
    caption = f"{counted(total, 'row')} without a prediction; shares are of these."
    return section(
        "rejects", title, bars(caption, ("Reason (stage)", "Rows", "For example"), rows, total)
    )
