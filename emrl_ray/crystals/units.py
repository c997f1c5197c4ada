"""Units and levels of theory, which columns of numbers carry in their metadata."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa


class ColumnMetadata(NamedTuple):
    """In what a column of numbers is given, and how it was found."""

    unit: str | None
    theory: str | None
    """Level of theory: a functional, or an experiment."""


def column_metadata(field: pa.Field) -> ColumnMetadata:
    """Return what the metadata of a column say of it."""
    notes = field.metadata or {}
    return ColumnMetadata(*(notes.get(key, b"").decode() or None for key in (b"unit", b"theory")))


def number_field(name: str, unit: str | None) -> pa.Field:
    """Return the field of a column of numbers in a unit, which None leaves open."""
    return pa.field(name, pa.float64(), metadata={"unit": unit} if unit else None)


def annotated(schema: pa.Schema, unit: str | None, theory: str | None) -> pa.Schema:
    """Return the schema with unit and level of theory in the metadata of its columns of numbers."""
    notes = {key: value for key, value in (("unit", unit), ("theory", theory)) if value}
    return pa.schema(
        field.with_metadata({**_texts(field), **notes})
        if notes and pa.types.is_floating(field.type)
        else field
        for field in schema
    )


def _texts(field: pa.Field) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
