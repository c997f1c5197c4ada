"""The numbers of an evaluation, and how they are said."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.crystals.schema import KNOWN_ID
from emrl_ray.training.evaluation import baselines, fraction_within, score

WORST = 5
"""Elements that are named."""
MIN_ROWS = 10
"""Rows that an element needs to be named: an error of fewer is an accident."""
DOMAIN = "in_domain"
SEEN = {
    "training_rows": "the model was fitted to them",
    "calibration_rows": "the intervals were made of them",
}
"""Parts of the crystals that do not tell how the model does on others, and why."""


def measured(
    rows: pa.Table, reference: pa.Table, calibration: pa.Array, confidence: float = 0.9
) -> dict[str, Any]:
    """Return the numbers of n ≥ 1 scored rows (id, formula, true_value, prediction, lower, upper, known_id).

    `reference` are the model's training rows (id, formula, true_value), `calibration` the ids of its
    calibration rows; rows are found among them by id, and in any cell by known_id. Of the result,
    `baselines` is None without reference rows, `intervals`, which are to hold with `confidence`,
    without any, `domain` where the model knows of none (no column in_domain, or nulls);
    `mean_width` is None where it is infinite.
    """
    true, predicted = (rows.column(name).to_numpy() for name in ("true_value", "prediction"))
    errors = np.abs(predicted - true)
    covered = _covered(rows, true)
    trained = _among(rows, reference.column("id").combine_chunks())
    calibrated = _among(rows, calibration) & ~trained
    return {
        "scored": rows.num_rows,
        **score(predicted, true)._asdict(),
        "floors": _floors(rows, reference, true),
        "intervals": _intervals(rows, covered, confidence),
        "domain": _domain(rows, errors, covered),
        "training_rows": _part(errors, covered, trained),
        "calibration_rows": _part(errors, covered, calibrated),
        "not_seen": _part(errors, covered, ~trained & ~calibrated),
    }


def _among(rows: pa.Table, ids: pa.Array) -> NDArray[np.bool_]:
    """Return which rows are, by their own id or that of the crystal they are, among these."""
    by_id, by_structure = (
        pc.is_in(rows.column(name), value_set=ids).to_numpy() for name in ("id", KNOWN_ID)
    )
    return by_id | by_structure


def _floors(
    rows: pa.Table, reference: pa.Table, true: NDArray[np.float64]
) -> dict[str, dict[str, float]] | None:
    if reference.num_rows == 0:
        return None
    found = baselines(
        reference.column("true_value").to_numpy(),
        reference.column("formula"),
        true,
        rows.column("formula"),
    )
    return {name: scores._asdict() for name, scores in found._asdict().items()}


def _intervals(
    rows: pa.Table, covered: NDArray[np.bool_] | None, confidence: float
) -> dict[str, float | None] | None:
    if covered is None:
        return None
    width = float((rows.column("upper").to_numpy() - rows.column("lower").to_numpy()).mean())
    return {
        "confidence": confidence,
        "coverage": float(covered.mean()),
        "mean_width": width if math.isfinite(width) else None,
    }


def _covered(rows: pa.Table, true: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Return whether each interval holds the true value; None without intervals."""
    lower, upper = rows.column("lower"), rows.column("upper")
    return None if lower.null_count else fraction_within(lower.to_numpy(), upper.to_numpy(), true)


def _domain(
    rows: pa.Table, errors: NDArray[np.float64], covered: NDArray[np.bool_] | None
) -> dict[str, dict[str, Any]] | None:
    if DOMAIN not in rows.column_names or rows.column(DOMAIN).null_count:
        return None
    inside = rows.column(DOMAIN).to_numpy()
    return {
        "inside": _part(errors, covered, inside),
        "outside": _part(errors, covered, ~inside),
    }


def _part(
    errors: NDArray[np.float64], covered: NDArray[np.bool_] | None, chosen: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return number, mean absolute error and coverage of some rows; None of what there is none of."""
    count = int(chosen.sum())
    return {
        "rows": count,
        "mae": float(errors[chosen].mean()) if count else None,
        "coverage": float(covered[chosen].mean()) if count and covered is not None else None,
    }


def caption(metrics: dict[str, Any], unit: str | None) -> str:
    """Return the few numbers that stand in a figure."""
    lines = [
        f"MAE {metrics['mae']:.3g}{f' {unit}' if unit else ''}",
        f"R² {metrics['r2']:.3f}",
        f"{metrics['scored']:,} crystals",
    ]
    for part in ("training", "calibration"):
        if seen := metrics[f"{part}_rows"]["rows"]:
            lines.append(f"{seen:,} of them in {part}")
    return "\n".join(lines)


def label(target: str, unit: str | None) -> str:
    """Return the name of a property with its unit, as it stands on an axis."""
    name = target.replace("_", " ")
    return f"{name} ({unit})" if unit else name


def sentences(metrics: dict[str, Any], by_element: pa.Table, unit: str | None) -> list[str]:
    """Return the numbers of `measured` for people, a line each."""

    def value(number: float) -> str:
        return f"{number:.4f}{f' {unit}' if unit else ''}"

    def part(found: dict[str, Any]) -> str:
        rows = f"{found['rows']:,} crystals"
        if not found["rows"]:
            return rows
        held = "" if found["coverage"] is None else f", intervals hold {share(found['coverage'])}"
        return f"{rows}, MAE {value(found['mae'])}{held}"

    def share(number: float) -> str:
        return f"{100 * number:.1f} %"

    lines = {"MAE": value(metrics["mae"]), "R²": f"{metrics['r2']:.4f}"}
    if metrics["floors"] is not None:
        of_mean, of_composition = (metrics["floors"][name] for name in ("mean", "composition"))
        lines["floor, mean"] = f"MAE {value(of_mean['mae'])}, by the mean of the training rows"
        lines["floor, formula"] = (
            f"MAE {value(of_composition['mae'])}, by that of the same composition"
        )
    if metrics["intervals"] is None:
        lines["intervals"] = "none: the model has no calibration"
    else:
        name = f"{100 * metrics['intervals']['confidence']:g} % intervals"
        width = metrics["intervals"]["mean_width"]
        lines[name] = f"hold {share(metrics['intervals']['coverage'])}, mean width " + (
            "infinite (too few calibration rows)" if width is None else value(width)
        )
    if metrics["domain"] is not None:
        lines["in domain"] = part(metrics["domain"]["inside"])
        lines["out of domain"] = part(metrics["domain"]["outside"])
    if worst := _worst(by_element, value):
        lines["worst elements"] = worst
    seen = [name for name in SEEN if metrics[name]["rows"]]
    for name in seen:
        lines[name.replace("_", " ")] = f"{part(metrics[name])}; {SEEN[name]}"
    if seen:
        lines["not seen"] = part(metrics["not_seen"])
    wide = max(map(len, lines))
    return [f"  {name:<{wide}}  {text}" for name, text in lines.items()]


def _worst(by_element: pa.Table, value: Any) -> str:
    """Return the elements with the largest errors, of those that enough crystals have."""
    often = by_element.filter(pc.field("rows") >= MIN_ROWS).slice(0, WORST).to_pylist()
    named = [f"{row['element']} {row['mae']:.4f} ({row['rows']:,})" for row in often]
    return ", ".join(named)
