"""The cells of a shortlist's table: what they show and what their rows are sorted by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from emrl_ray.reporting.run_page.domain_words import short_reason
from emrl_ray.reporting.run_page.markup import NOTHING, number, text

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


def distance_cell(row: Row) -> Cell:
    """Return the distance to the nearest known crystal, three digits."""
    value = sort_key(row.get("nearest_distance"))
    return Cell(NOTHING if value is None else f"{value:.3g}", value)


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


def domain_cell(row: Row) -> Cell:
    """Return whether a row is in domain, else why not; rows in domain are sorted first."""
    inside = row.get("in_domain")
    if inside is None:
        return Cell(NOTHING, None)
    if inside:
        return Cell('<span class="in">in domain</span>', "")
    reason = short_reason(row.get("domain_reason"))
    return Cell(f'<span class="out">out: {text(reason)}</span>', reason)


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
