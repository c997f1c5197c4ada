"""How good the model of a run is on crystals that it did not see: parity, coverage, errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.model import Card
from emrl_ray.reporting.run_page.axes import Axes
from emrl_ray.reporting.run_page.markup import (
    decimals_for,
    figure,
    legend,
    number,
    paragraph,
    section,
    share,
    table,
)
from emrl_ray.reporting.run_page.question import is_formation_energy
from emrl_ray.reporting.run_page.run_folder import Run, sampled
from emrl_ray.trust import Calibration

CONFORMAL = (
    "Split conformal intervals hold their confidence on average over crystals that are exchangeable "
    "with the calibration rows; they promise nothing for crystals unlike the training set."
)
NO_STABILITY = (
    "A formation energy, all the more one predicted for an unrelaxed cell, is no filter for stability: "
    "a crystal is stable or not against all competing phases."
)
CONFIDENCES = np.arange(0.05, 1.0, 0.05)
"""Nominal confidences at which coverage is measured."""
LEAST_ROWS = 20
"""Calibration rows below which no coverage by confidence is drawn."""


class HeldOut(NamedTuple):
    """Rows of one part that the head was not fitted to, (n,) each."""

    target: NDArray[np.float64]
    prediction: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @property
    def covered(self) -> int:
        """Rows whose target lies in the stored interval."""
        return int(((self.target >= self.lower) & (self.target <= self.upper)).sum())

    @property
    def scores(self) -> NDArray[np.float64]:
        """|target - prediction| in half widths of the stored interval; NaN where that is infinite."""
        half = (self.upper - self.lower) / 2
        finite = np.isfinite(half) & (half > 0)
        return np.where(finite, np.abs(self.target - self.prediction), np.nan) / np.where(
            finite, half, 1
        )


def model_section(run: Run) -> str:
    """Return parity and coverage of the model, its errors, and what intervals do not promise."""
    card = run.model.card
    title = "How good the model is"
    if card is None:
        return section("model", title, paragraph(run.model.problem, "note"), paragraph(CONFORMAL))
    parts = _parts(run.model.held_out)
    figures = [_parity(run, parts), _coverage(parts)] if parts else []
    notes = [
        paragraph(CONFORMAL),
        paragraph(NO_STABILITY if is_formation_energy(card.target) else ""),
        paragraph(_untold(run, parts), "note"),
    ]
    drawn = "".join(filter(None, figures))
    return section(
        "model",
        title,
        *notes,
        f'<div class="figures">{drawn}</div>' if drawn else "",
        _errors(card),
    )


def _untold(run: Run, parts: dict[str, HeldOut]) -> str:
    card = run.model.card
    assert card is not None
    head = run.config.get("head")
    if not parts:
        return (
            "This model keeps no predictions of held-out rows, so there is no parity plot; training it "
            "again makes them."
        )
    if head and head != card.best_head:
        return f"The plots are of the regressor {card.best_head}, this run used {head}."
    return ""


def _parts(held_out: pa.Table | None) -> dict[str, HeldOut]:
    """Return the rows of calibration and test that have a target and a prediction."""
    if held_out is None:
        return {}
    found = {}
    for part in ("calibration", "test"):
        rows = held_out.filter(pc.equal(held_out.column("part"), part))
        values = HeldOut(*(_column(rows, name) for name in HeldOut._fields))
        there = np.isfinite(values.target) & np.isfinite(values.prediction)
        if there.any():
            found[part] = HeldOut(*(column[there] for column in values))
    return found


def _column(rows: pa.Table, name: str) -> NDArray[np.float64]:
    return rows.column(name).cast(pa.float64()).to_numpy()


def _parity(run: Run, parts: dict[str, HeldOut]) -> str:
    """Return predictions over targets, with the stored intervals' typical width as a band."""
    values = np.concatenate([np.concatenate(rows[:2]) for rows in parts.values()])
    low, high = float(values.min()), float(values.max())
    edge = 0.03 * (high - low) or 0.5
    low, high = low - edge, high + edge
    axes = Axes((low, high), (low, high), height=500)
    ends = np.array([low, high])
    dots = [
        axes.dots(rows.target, rows.prediction, part)
        for part, rows in ((part, _thin(rows)) for part, rows in parts.items())
    ]
    drawing = axes.drawing(
        "Parity plot: predicted over true values of held-out crystals",
        axes.frame(f"true {run.target_label}", f"predicted {run.target_label}"),
        _band(axes, ends, parts),
        axes.line(ends, ends, "diagonal"),
        *dots,
    )
    key = legend(
        [(f"dot {part}", f"{part} ({len(rows.target):,})") for part, rows in parts.items()]
    )
    return figure(drawing, _covered(parts), key)


def _thin(rows: HeldOut) -> HeldOut:
    table = sampled(pa.table(rows._asdict()))
    return HeldOut(*(_column(table, name) for name in HeldOut._fields))


def _band(axes: Axes, ends: NDArray[np.float64], parts: dict[str, HeldOut]) -> str:
    half = _half_width(parts)
    if not math.isfinite(half):
        return ""
    low, high = ends
    x = (low, high - half, high, high, low + half, low)
    y = (low + half, high, high, high - half, low, low)
    places = zip(axes.across(x), axes.up(y), strict=True)
    points = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    return f'<polygon class="band" points="{points}"/>'


def _half_width(parts: dict[str, HeldOut]) -> float:
    """Return the median half width of the stored intervals, infinite where there are none."""
    halves = np.concatenate([(rows.upper - rows.lower) / 2 for rows in parts.values()])
    halves = halves[~np.isnan(halves)]
    return float(np.median(halves)) if len(halves) else math.inf


def _covered(parts: dict[str, HeldOut]) -> str:
    half = _half_width(parts)
    if not math.isfinite(half):
        return "The intervals of this model are infinite or missing: too few rows calibrated them."
    held = " and ".join(
        f"{rows.covered:,} of {len(rows.target):,} {part} rows "
        f"({share(rows.covered, len(rows.target))})"
        for part, rows in parts.items()
    )
    width = number(half, decimals_for(half) - 1)
    return f"The 90 % intervals hold {held}. The band is the median interval, ± {width}."


def _coverage(parts: dict[str, HeldOut]) -> str:
    """Return how much of the test rows intervals hold by the confidence that they are made for.

    Intervals of other confidences are those stored, stretched as the calibration rows ask for.
    """
    points = coverage(parts)
    if points is None:
        return ""
    promised, held = 100 * points
    axes = Axes((0, 100), (0, 100), height=500)
    drawing = axes.drawing(
        "Share of test rows within their intervals by nominal confidence",
        axes.frame("nominal confidence, %", "test rows within, %"),
        axes.line([0, 100], [0, 100], "diagonal"),
        axes.line(promised, held, "covered"),
        axes.dots(promised, held, "test"),
    )
    n = len(parts["test"].target)
    spread = 100 * math.sqrt(0.25 / n)
    words = (
        f"Coverage of {n:,} test rows by intervals calibrated for each confidence; on the diagonal "
        f"they hold what they promise. Chance alone moves a point by {spread:.1f} % or less (one sd)."
    )
    return figure(drawing, words, legend([("dot test", "test rows"), ("dash", "as promised")]))


def coverage(parts: dict[str, HeldOut]) -> NDArray[np.float64] | None:
    """Return (2, n) nominal confidences and the shares of test rows that are covered at these.

    None without test rows or with fewer than `LEAST_ROWS` calibration rows with an interval.
    """
    if not {"calibration", "test"} <= parts.keys():
        return None
    scores = parts["calibration"].scores
    scores, tested = scores[~np.isnan(scores)], parts["test"].scores
    if len(scores) < LEAST_ROWS or np.isnan(tested).any():
        return None
    calibration = Calibration(scores)
    widths = [calibration.half_width(float(confidence)) for confidence in CONFIDENCES]
    return np.array([CONFIDENCES, [float((tested <= width).mean()) for width in widths]])


def _errors(card: Card) -> str:
    """Return the errors that the model's card has, a row a part and head."""
    rows = list(_error_rows(card))
    unit = f", {card.unit}" if card.unit else ""
    head = ("Part", "Rows", "Predictor", f"MAE{unit}", "R²")
    return (
        table("Errors of the model, beside those of trivial predictors.", head, rows)
        if rows
        else ""
    )


def _error_rows(card: Card) -> Iterator[tuple[object, ...]]:
    for part in ("test", "calibration"):
        scores: dict[str, Any] = dict(card.metrics.get(part) or {})
        floors = scores.pop("floors", {})
        rows = f"{card.rows[part]:,}" if part in card.rows else None
        used = {
            f"{name} (best)" if name == card.best_head else name: s for name, s in scores.items()
        }
        for name, score in {**used, **{f"floor: {name}": s for name, s in floors.items()}}.items():
            yield part, rows, name, _score(score, "mae"), _score(score, "r2")


def _score(score: dict[str, Any], name: str) -> str:
    return number(score.get(name), 4 if name == "mae" else 3)
