"""Entries and properties as OPTIMADE servers describe them (OPTIMADE specification v1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from emrl_ray.config import ConfigError
from emrl_ray.crystals.crystal import attempt
from emrl_ray.crystals.optimade import STRUCTURE_FIELDS, read_structure
from emrl_ray.crystals.tables import CRYSTAL_SCHEMA, READ_BY
from emrl_ray.crystals.units import number_field
from emrl_ray.fetching.rows import Entry

NUMBERS = {"float", "integer"}
TEXTS = {"string", "timestamp"}
NO_UNIT = {None, "", "dimensionless", "inapplicable"}


def read_entry(resource: Mapping[str, Any], fields: Sequence[str]) -> Entry:
    """Return one resource object of an answer, with the values of `fields`."""
    attributes = resource.get("attributes") or {}
    return Entry(
        str(resource.get("id") or ""),
        attempt(read_structure, attributes),
        {name: attributes.get(name) for name in fields},
    )


def structure_columns(
    names: Sequence[str], properties: Mapping[str, Any], theory: str | None
) -> pa.Schema:
    """Return the columns of the properties `names`; `properties` are those that the server has.

    Raises ConfigError, in one line, for a name that is none of them or no number, truth or text.
    """
    return pa.schema([_column(name, properties, theory) for name in names])


def _column(name: str, properties: Mapping[str, Any], theory: str | None) -> pa.Field:
    kinds = {known: _kind(entry) for known, entry in properties.items()}
    taken = {*CRYSTAL_SCHEMA.names, READ_BY, *STRUCTURE_FIELDS, "type"}
    choices = [known for known, kind in kinds.items() if kind is not None and known not in taken]
    if name not in choices:
        raise ConfigError(
            f"--fields {name}: choose from {', '.join(choices) or 'none: the server has none'}"
        )
    kind = kinds[name]
    if not pa.types.is_floating(kind):
        return pa.field(name, kind)
    unit = properties[name].get("x-optimade-unit") or properties[name].get("unit")
    field = number_field(name, None if unit in NO_UNIT else str(unit))
    notes = {**(field.metadata or {}), **({b"theory": theory.encode()} if theory else {})}
    return field.with_metadata(notes or None)


def _kind(entry: Mapping[str, Any]) -> pa.DataType | None:
    """Return the type of the column of a property; None if it does not fit into one."""
    kind = entry.get("x-optimade-type") or entry.get("type")
    if kind is None or kind in NUMBERS:
        return pa.float64()
    if kind == "boolean":
        return pa.bool_()
    return pa.string() if kind in TEXTS else None
