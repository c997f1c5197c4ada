"""How good the models of a run are on crystals that they did not see: parity, coverage, errors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emrl_ray.model import Card
from emrl_ray.model.uncertainty import ConformalCalibration
from emrl_ray.reports.markup import (
    counted,
    decimals_for,
    figure,
    legend,
    number,
    paragraph,
    section,
    share,
    table,
    text,
)
from emrl_ray.reports.screening.axes import Axes
from emrl_ray.reports.screening.held_out import (
    STORED,
    HeldOut,
    coverage,
    held_out_parts,
    median_half_width,
    stretch,
    stretched,
    thinned,
)
from emrl_ray.reports.screening.reported_objectives import ReportedObjective
from emrl_ray.reports.screening.run_folder import ScreeningRun

CONFORMAL = (
    "Split conformal intervals hold their confidence on average over crystals that are exchangeable "
    "with the calibration rows; they promise nothing for crystals unlike the training set."
)
NO_STABILITY = (
    "A formation energy, all the more one predicted for an unrelaxed cell, is no filter for stability: "
    "a crystal is stable or not against all competing phases."
)


def model_section(run: ScreeningRun) -> str:
    """Return parity and coverage of each model, its errors, and what intervals do not promise."""
    several = len(run.models) > 1
    title = "How good the models are" if several else "How good the model is"
    parts = [paragraph(CONFORMAL)]
    if any(is_formation_energy(made.target) for made in run.objectives):
        parts.append(paragraph(NO_STABILITY))
    for name, made in run.models.items():
        parts += [f"<h3>Model of {text(name)}</h3>" if several else "", *_model(run, made)]
    return section("model", title, *parts)


def _model(run: ScreeningRun, made: ReportedObjective) -> Iterator[str]:
    """Yield what is said of one model."""
    card = made.model.card
    if card is None:
        yield paragraph(made.model.problem, "note")
        return
    parts = held_out_parts(made.model.held_out)
    factor = stretch(made.model.calibration, run.confidence)
    confidence = STORED if factor is None else run.confidence
    yield paragraph(_untold(run, made, parts, factor), "note")
    if parts:
        wide = {part: stretched(rows, factor or 1.0) for part, rows in parts.items()}
        drawn = _parity(made, wide, confidence) + _coverage(
            parts.get("test"), made.model.calibration
        )
        yield f'<div class="figures">{drawn}</div>'
    yield _errors(card)


def _untold(
    run: ScreeningRun, made: ReportedObjective, parts: dict[str, HeldOut], factor: float | None
) -> str:
    """Return what the figures are not of, in sentences."""
    assert made.model.card is not None
    if not parts:
        return (
            "This model keeps no predictions of held-out rows, so there is no parity plot; training it "
            "again makes them."
        )
    said, best = [], made.model.card.best_head
    others = {
        each.head
        for each in run.objectives
        if each.model.location == made.model.location and each.head != best
    }
    if others:
        used = " and ".join(sorted(others))
        said.append(f"The plots are of the regressor {best}, this run used {used}.")
    if factor is None:
        said.append(
            f"The figures here are for {100 * STORED:g} % intervals, not for the "
            f"{100 * run.confidence:g} % intervals of the table: the model does not keep what those need."
        )
    return " ".join(said)


def _parity(made: ReportedObjective, parts: dict[str, HeldOut], confidence: float) -> str:
    """Return predictions over targets, with the stored intervals' typical width as a band."""
    values = np.concatenate([np.concatenate(rows[:2]) for rows in parts.values()])
    low, high = float(values.min()), float(values.max())
    edge = 0.03 * (high - low) or 0.5
    low, high = low - edge, high + edge
    axes = Axes((low, high), (low, high), height=500)
    ends = np.array([low, high])
    dots = [
        axes.dots(rows.target, rows.prediction, part)
        for part, rows in ((part, thinned(rows)) for part, rows in parts.items())
    ]
    drawing = axes.drawing(
        "Parity plot: predicted over true values of held-out crystals",
        axes.frame(f"true {made.label}", f"predicted {made.label}"),
        _band(axes, ends, parts),
        axes.line(ends, ends, "diagonal"),
        *dots,
    )
    made_from = {"calibration": ", which made the intervals"}
    key = legend(
        (f"dot {part}", f"{part} ({len(rows.target):,}){made_from.get(part, '')}")
        for part, rows in parts.items()
    )
    return figure(drawing, _covered(parts, confidence), key)


def _band(axes: Axes, ends: NDArray[np.float64], parts: dict[str, HeldOut]) -> str:
    half = median_half_width(parts)
    if not math.isfinite(half):
        return ""
    low, high = ends
    x = (low, high - half, high, high, low + half, low)
    y = (low + half, high, high, high - half, low, low)
    places = zip(axes.across(x), axes.up(y), strict=True)
    points = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    return f'<polygon class="band" points="{points}"/>'


def _covered(parts: dict[str, HeldOut], confidence: float) -> str:
    """Return how many test rows the intervals hold; calibration rows they hold by construction."""
    half = median_half_width(parts)
    if not math.isfinite(half):
        return "The intervals of this model are infinite or missing: too few rows calibrated them."
    width = number(half, decimals_for(half) - 1)
    band = f"The band is the median {100 * confidence:g} % interval, ± {width}."
    if "test" not in parts:
        return f"{band} The model kept no test rows: nothing here shows whether its intervals hold."
    rows = parts["test"]
    n = len(rows.target)
    return (
        f"The {100 * confidence:g} % intervals hold {rows.covered:,} of {counted(n, 'test row')} "
        f"({share(rows.covered, n)}). {band}"
    )


def _coverage(test: HeldOut | None, calibration: ConformalCalibration | None) -> str:
    """Return how much of the test rows intervals hold by the confidence that they are made for.

    Intervals of other confidences are those stored, stretched as the calibration rows ask for.
    """
    points = coverage(test, calibration)
    if test is None or points is None:
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
    n = len(test.target)
    spread = 100 * math.sqrt(0.25 / n)
    words = (
        f"Coverage of {n:,} test rows by intervals calibrated for each confidence; on the diagonal "
        f"they hold what they promise. Chance alone moves a point by {spread:.1f} % or less (one sd)."
    )
    return figure(drawing, words, legend([("dot test", "test rows"), ("dash", "as promised")]))


def _errors(card: Card) -> str:
    """Return the errors that the model's card has, a row a part and head."""
    rows = list(_error_rows(card))
    unit = f", {card.unit}" if card.unit else ""
    head = ("Part", "Rows", "Predictor", f"MAE{unit}", "R²")
    caption = (
        "Errors of the model, beside those of trivial predictors; the best regressor is the one with "
        "the least error on the calibration rows."
    )
    return table(caption, head, rows) if rows else ""


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


def is_formation_energy(target: str) -> bool:
    """Return whether a target, by its name, is an energy of formation."""
    return re.search(r"formation|e_?form", target, re.IGNORECASE) is not None
