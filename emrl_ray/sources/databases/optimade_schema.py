"""Entries and properties as OPTIMADE servers describe them (OPTIMADE specification v1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from emrl_ray.config import UserError
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, READ_BY, RejectReason
from emrl_ray.crystals.units import number_field
from emrl_ray.io.text import printable
from emrl_ray.sources.databases.records import Entry
from emrl_ray.sources.files.formats.optimade import STRUCTURE_FIELDS, read_structure
from emrl_ray.sources.files.parsed import ParseFailure, attempt

NUMBERS = {"float", "integer", "number"}
TEXTS = {"string", "timestamp"}
NO_UNIT = {"", "dimensionless", "inapplicable"}


def read_entry(resource: Mapping[str, Any], fields: Sequence[str]) -> Entry:
    """Return one resource object of an answer, with the values of `fields`."""
    row_id, attributes = str(resource.get("id") or ""), resource.get("attributes")
    if not isinstance(attributes, dict):
        return Entry(row_id, ParseFailure(RejectReason.UNREADABLE, "its attributes are none"), {})
    values = {name: attributes.get(name) for name in fields}
    return Entry(row_id, attempt(read_structure, attributes), values)


def structure_columns(
    names: Sequence[str], properties: Mapping[str, Any], theory: str | None
) -> pa.Schema:
    """Return the columns of the properties `names`; `properties` are those that the server has.

    Raises UserError, in one line, for a name that is none of them or no number, truth or text.
    """
    return pa.schema([_column(name, properties, theory) for name in names])


def _column(name: str, properties: Mapping[str, Any], theory: str | None) -> pa.Field:
    kinds = {known: _kind(entry) for known, entry in properties.items()}
    taken = {*CRYSTAL_SCHEMA.names, READ_BY, *STRUCTURE_FIELDS, "type"}
    choices = [known for known, kind in kinds.items() if kind is not None and known not in taken]
    if name not in choices:
        raise UserError(
            f"--fields {name}: choose from {', '.join(choices) or 'none: the server has none'}"
        )
    kind = kinds[name]
    if not pa.types.is_floating(kind):
        return pa.field(name, kind)
    unit = properties[name].get("x-optimade-unit") or properties[name].get("unit")
    has_unit = isinstance(unit, str) and unit not in NO_UNIT
    field = number_field(name, printable(unit) if has_unit else None)
    notes = {**(field.metadata or {}), **({b"theory": theory.encode()} if theory else {})}
    return field.with_metadata(notes or None)


def _kind(entry: Any) -> pa.DataType | None:
    """Return the type of the column of a property; None if it does not fit into one."""
    if not isinstance(entry, dict):
        return None
    kind = entry.get("x-optimade-type") or entry.get("type")
    if isinstance(kind, list):  # of JSON schema: a type and null
        kind = next((each for each in kind if each != "null"), None) if len(kind) <= 2 else kind
    if kind is not None and not isinstance(kind, str):
        return None
    if kind is None or kind in NUMBERS:
        return pa.float64()
    if kind == "boolean":
        return pa.bool_()
    return pa.string() if kind in TEXTS else None
