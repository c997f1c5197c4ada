"""What readers find, put together as a table of crystals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import reduced_formula
from emrl_ray.crystals.schema import GEOMETRY, READ_BY, Reject, crystals_table
from emrl_ray.sources.files.formats.csv import converted
from emrl_ray.sources.files.parsed import ParsedCrystal, as_batch


class Rows(NamedTuple):
    """Crystals as they were found, not yet validated."""

    table: pa.Table
    """Crystals table without formulas, with further columns and `READ_BY`."""
    sources: list[str]
    """Where each row came from."""
    rejects: list[Reject]
    """What was found and is no crystal."""


class Row(NamedTuple):
    """A crystal that was found."""

    crystal: ParsedCrystal
    id: str
    source: str
    values: Mapping[str, str]
    """Texts of further columns."""
    read_by: str


def rows_of(found: Sequence[Row], rejects: list[Reject], columns: pa.Schema) -> Rows:
    """Return crystals with those of the further `columns` that any of them has."""
    present = {name for row in found for name in row.values}
    extra = {
        field.name: converted([row.values.get(field.name, "") for row in found], field.type)
        for field in columns
        if field.name in present
    }
    extra[READ_BY] = pa.array([row.read_by for row in found], pa.string())
    table = geometry([row.crystal for row in found], [row.id for row in found], extra)
    return Rows(table, [row.source for row in found], rejects)


def geometry(
    crystals: Sequence[ParsedCrystal], ids: Iterable[str], extra: Mapping[str, pa.Array]
) -> pa.Table:
    """Return crystals as a table without formulas, with further columns."""
    return crystals_table(as_batch(crystals), ids, [""] * len(crystals), extra)


def with_ids(table: pa.Table, ids: pa.Array) -> pa.Table:
    """Return a table of rows that were read as they are, with other ids and `READ_BY`."""
    read_by = pa.array(["pyarrow"] * table.num_rows, pa.string())
    if READ_BY in table.column_names:  # the table that an earlier reader made
        read_by = pc.coalesce(table.column(READ_BY).cast(pa.string()), "pyarrow")
    others = table.drop_columns([name for name in ("id", READ_BY) if name in table.column_names])
    return others.append_column("id", ids).append_column(READ_BY, read_by)


def as_crystals(table: pa.Table, columns: pa.Schema) -> pa.Table:
    """Return valid rows with the types of a crystals table, a formula each, and all `columns`."""
    batch = CrystalBatch.from_arrow(table.select([*GEOMETRY]))
    formulas = (
        table.column("formula").to_pylist()
        if "formula" in table.column_names
        else [None] * table.num_rows
    )
    atoms = zip(batch.offsets[:-1], batch.offsets[1:], formulas, strict=True)
    extra = {
        field.name: table.column(field.name).combine_chunks().cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in columns
    }
    return crystals_table(
        batch,
        table.column("id").to_pylist(),
        [formula or reduced_formula(batch.atomic_numbers[i:j]) for i, j, formula in atoms],
        extra,
        {field.name: field for field in columns},
    )
