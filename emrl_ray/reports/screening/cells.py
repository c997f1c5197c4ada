"""The cells of a shortlist's table: what they show and what their rows are sorted by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.reports.markup import NOTHING, decimals_for, number, text
from emrl_ray.screening.domain_counts import short_reason

SAME = 1e-4
"""Distances below this differ from 0 by rounding alone."""
NAMES_SHOWN = 4
"""Ids of duplicates that a row names; of more, their number."""

Row = Mapping[str, Any]


class Cell(NamedTuple):
    """A cell of the table."""

    shown: str
    """HTML."""
    key: float | str | None
    """What the row is sorted by; None comes last, whichever way."""


def sort_key(value: float | None) -> float | None:
    """Return what a number is sorted by: None for null and NaN."""
    return None if value is None or math.isnan(value) else float(value)


def number_cell(row: Row, name: str, decimals: int) -> Cell:
    """Return a number of a row with so many decimals."""
    return Cell(number(row.get(name), decimals), sort_key(row.get(name)))


def distance_cell(row: Row, decimals: int) -> Cell:
    """Return the distance to the nearest known crystal; below `SAME` it is 0 but for rounding."""
    value = sort_key(row.get("nearest_distance"))
    return Cell("0" if value is not None and value < SAME else number(value, decimals), value)


def distance_decimals(distances: NDArray[np.float64]) -> int:
    """Return with how many decimals distances are written: three digits of a middling one."""
    apart = distances[np.isfinite(distances) & (distances >= SAME)]
    return min(4, decimals_for(np.median(apart)) - 1) if len(apart) else 3


def text_cell(row: Row, name: str) -> Cell:
    """Return a text of a row."""
    return Cell(text(row.get(name)), row.get(name))


def formula_cell(row: Row) -> Cell:
    """Return the formula with its numbers lowered, if it is written as one."""
    formula = row.get("formula")
    if not formula:
        return Cell(NOTHING, None)
    parts = ["<sub>" + part + "</sub>" if part[0].isdigit() else part for part in _split(formula)]
    return Cell("".join(parts), formula)


def _split(formula: str) -> list[str]:
    """Return a formula in parts, each of digits and points or of anything else, made safe."""
    parts: list[str] = []
    for sign in formula:
        number_goes_on = parts and (sign.isdigit() or sign == ".") and parts[-1][0].isdigit()
        word_goes_on = parts and not sign.isdigit() and not parts[-1][0].isdigit()
        if number_goes_on or word_goes_on:
            parts[-1] += sign
        else:
            parts.append(sign)
    return [text(part) for part in parts]


def domain_cell(row: Row, models: Mapping[str, str]) -> Cell:
    """Return whether a row is in the domain of every model, else of which not and why.

    `models` has the ending of each model's columns by its name. Rows in domain are sorted first.
    """
    inside = {name: row.get(f"in_domain{ending}") for name, ending in models.items()}
    whose = {name: f" of {name}" if len(models) > 1 else "" for name in models}
    reasons = [
        f"out{whose[name]}: {short_reason(row.get(f'domain_reason{models[name]}'))}"
        for name, found in inside.items()
        if found is False
    ]
    unknown = [f"not known{whose[name]}" for name, found in inside.items() if found is None]
    if reasons:
        shown = "".join(f'<span class="out">{text(reason)}</span>' for reason in reasons)
        return Cell(shown, " ".join(reasons))
    if len(unknown) == len(models):
        return Cell(NOTHING, None)
    if unknown:
        return Cell(text(", ".join(unknown)), " ".join(unknown))
    return Cell('<span class="in">in domain</span>', "")


def nearest_cell(row: Row) -> Cell:
    """Return formula and id of the nearest known crystal."""
    if row.get("nearest_id") is None:
        return Cell(NOTHING, None)
    formula = formula_cell({"formula": row.get("nearest_formula")})
    name = f"{formula.shown} " if formula.key else ""
    return Cell(
        f'{name}<span class="sub">{text(row["nearest_id"])}</span>',
        formula.key or row["nearest_id"],
    )


def duplicates_cell(row: Row) -> Cell:
    """Return how many duplicates a row has, and the ids of the first."""
    names = row.get("duplicates")
    if not names:
        return Cell(NOTHING, 0)
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    shown = ", ".join(text(name) for name in names[:NAMES_SHOWN])
    return Cell(f'{len(names):,}: <span class="sub">{shown}{more}</span>', len(names))


def written(key: float | str) -> str:
    """Return a sorting key as the page's program reads it."""
    if isinstance(key, str):
        return key
    if math.isinf(key):
        return "Infinity" if key > 0 else "-Infinity"
    return f"{key:.12g}"
