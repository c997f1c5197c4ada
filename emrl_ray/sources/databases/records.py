"""From what a database says of its crystals to rows of a crystals table, or rejects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from emrl_ray.crystals.elements import reduced_formula
from emrl_ray.crystals.schema import READ_BY, Reject, RejectReason, Stage, crystals_table
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.io.text import printable
from emrl_ray.sources.files.parsed import DETAIL_LENGTH, ParsedCrystal, ParseFailure, as_batch

READER = "emrl_ray"
"""What reads the structures of an answer: our own code, whatever asked for them."""


class Entry(NamedTuple):
    """One crystal of a database."""

    id: str
    found: ParsedCrystal | ParseFailure
    values: Mapping[str, Any]
    """Properties by the names of their columns; null and what is missing are null."""


def tabulate(
    entries: Sequence[Entry], columns: pa.Schema, limits: ValidationLimits, source: str
) -> tuple[pa.Table, list[Reject]]:
    """Return entries as a crystals table with `columns` and `READ_BY`, in order, and a reject for each other.

    An entry is rejected for its flaw, for a property that is of another type than its column, or
    because it is no valid crystal (`crystals.validation`).
    """
    crystals: list[ParsedCrystal] = []
    kept: list[Entry] = []
    rejects: list[Reject] = []
    for entry in entries:
        found = entry.found
        if isinstance(found, ParsedCrystal):
            found = _misfit(entry.values, columns) or found
        if isinstance(found, ParseFailure):
            rejects.append(found.reject(entry.id, source, Stage.READ))
        else:
            crystals.append(found)
            kept.append(entry)
    arrays = {
        field.name: pa.array(
            [_value(entry.values.get(field.name), field.type) for entry in kept], field.type
        )
        for field in columns
    }
    arrays[READ_BY] = pa.array([READER] * len(kept), pa.string())
    formulas = [reduced_formula(crystal.atomic_numbers) for crystal in crystals]
    table = crystals_table(
        as_batch(crystals),
        [entry.id for entry in kept],
        formulas,
        arrays,
        {field.name: field for field in columns},
    )
    good, invalid = validate(table, limits, source)
    return good, rejects + invalid


def _misfit(values: Mapping[str, Any], columns: pa.Schema) -> ParseFailure | None:
    """Return what is wrong with the first property that does not fit its column."""
    for field in columns:
        value = values.get(field.name)
        if value is not None and not _fits(value, field.type):
            detail = f"{field.name} is {value!r}, no {field.type}"
            return ParseFailure(RejectReason.UNREADABLE, detail[:DETAIL_LENGTH])
    return None


def _fits(value: Any, kind: pa.DataType) -> bool:
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    if not pa.types.is_floating(kind):
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _value(value: Any, kind: pa.DataType) -> Any:
    """Return a property that fits its column, null if it is a number that is not finite."""
    if value is None or pa.types.is_boolean(kind):
        return value
    if pa.types.is_floating(kind):
        return float(value) if math.isfinite(value) else None
    return printable(value)
