"""Parquet files of crystals: our own tables, and those whose columns are named as OPTIMADE does (LeMaterial).

What such a row describes is read as an answer of a server (`sources.files.formats.optimade`). Further columns of
lists are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, GEOMETRY, READ_BY, check_crystal_schema
from emrl_ray.io.paths import Location
from emrl_ray.sources.files.formats.optimade import SITES, STRUCTURE_FIELDS, read_structure
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure, attempt

ABOUT_SITES = (*STRUCTURE_FIELDS, "nperiodic_dimensions")
ID_NAMES = ("id", "immutable_id")
"""Columns of ids, where none is named."""


def is_optimade(schema: pa.Schema) -> bool:
    """Return whether a table has its structures as OPTIMADE names them."""
    return {*SITES} <= {*schema.names}


def check_table(schema: pa.Schema, id_column: str, source: str) -> None:
    """Raise UserError, in one line, unless a Parquet table holds crystals, and ids if they are named."""
    if id_column not in ("id", *schema.names):
        raise UserError(f"{source}: no column {id_column!r} (it has {', '.join(schema.names)})")
    if not is_optimade(schema):
        check_crystal_schema(schema, source, ("formula", "id"))


def extra_fields(schema: pa.Schema) -> list[pa.Field]:
    """Return the columns of a table beyond those that make its crystals."""
    if not is_optimade(schema):
        return [field for field in schema if field.name not in CRYSTAL_SCHEMA.names]
    return [
        field
        for field in schema
        if field.name not in (*CRYSTAL_SCHEMA.names, *ABOUT_SITES)
        and not pa.types.is_nested(field.type)
    ]


def read_rows(
    location: Location, row_group: int, start: int, stop: int, id_column: str
) -> pa.Table:
    """Return rows `start:stop` of a row group: the columns of crystals, those of ids, and further ones."""
    with pq.ParquetFile(location.path, filesystem=location.filesystem) as parquet:
        schema = parquet.schema_arrow
        about = ABOUT_SITES if is_optimade(schema) else (*GEOMETRY, "formula")
        wanted = {*about, *ID_NAMES, id_column, READ_BY}
        wanted |= {field.name for field in extra_fields(schema)}
        names = [name for name in schema.names if name in wanted]
        return parquet.read_row_group(row_group, names).slice(start, stop - start)


def id_column_of(table: pa.Table, id_column: str) -> str | None:
    """Return which column of a table holds its ids; None if none does."""
    names = (id_column,) if id_column != "id" else ID_NAMES
    return next((name for name in names if name in table.column_names), None)


def crystals_of(table: pa.Table) -> Iterator[ParsedCrystal | ParseFailure]:
    """Yield the crystal of each row of a table whose columns OPTIMADE names."""
    names = [name for name in ABOUT_SITES if name in table.column_names]
    for chunk in table.select(names).to_batches(1024):
        for row in chunk.to_pylist():
            yield attempt(read_structure, row)
