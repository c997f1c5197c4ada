"""The Arrow tables that every stage reads and writes: crystals and rejects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.io.text import printable

CRYSTAL_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("formula", pa.string()),
        pa.field("lattice", pa.list_(pa.float64(), 9), metadata={"unit": "angstrom"}),
        pa.field("atomic_numbers", pa.list_(pa.uint8())),
        pa.field("frac_coords", pa.list_(pa.float64())),
    ]
)
"""The columns that every crystals table has; any further column is a target or metadata."""

GEOMETRY = ("lattice", "atomic_numbers", "frac_coords")
"""The columns that hold the structure itself."""

KNOWN_ID = "known_id"
"""The column, in tables of candidates and of predictions, of the id of the known crystal that the row is."""

READ_BY = "read_by"
"""The column, in tables that `ingest` and `fetch` write, of the library that read the row's structure."""


class Stage(StrEnum):
    """Where a crystal was rejected."""

    READ = "read"
    VALIDATE = "validate"
    GENERATE = "generate"
    FEATURIZE = "featurize"
    PREDICT = "predict"


class RejectReason(StrEnum):
    """Why a crystal was rejected; the codes are stable and fit for grouping."""

    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"
    NOT_UTF8 = "not_utf8"
    EMPTY = "empty"
    NO_ATOMS = "no_atoms"
    DISORDERED = "disordered"
    UNKNOWN_ELEMENT = "unknown_element"
    OVERLAPPING_SITES = "overlapping_sites"
    BAD_CELL = "bad_cell"
    BAD_COORDINATES = "bad_coordinates"
    TOO_MANY_ATOMS = "too_many_atoms"
    TOO_MANY_PAIRS = "too_many_pairs"
    NO_PAIRS = "no_pairs"
    DUPLICATE_ID = "duplicate_id"
    MISSING_TARGET = "missing_target"
    NO_OXIDATION_STATES = "no_oxidation_states"
    NO_SUBSTITUTION = "no_substitution"
    TIMED_OUT = "timed_out"
    PARSER_CRASHED = "parser_crashed"
    UNKNOWN_ID = "unknown_id"


class Reject(NamedTuple):
    """A crystal that was not passed on, and why."""

    id: str
    source: str
    stage: Stage
    reason: RejectReason
    detail: str = ""


REJECT_SCHEMA = pa.schema([pa.field(name, pa.string()) for name in Reject._fields])


def rejects_table(rejects: Iterable[Reject]) -> pa.Table:
    """Return the rejects as a table with `REJECT_SCHEMA`, one row each."""
    rows = list(rejects)
    return pa.table(
        {name: [printable(str(getattr(row, name))) for row in rows] for name in Reject._fields},
        schema=REJECT_SCHEMA,
    )


def crystals_table(
    batch: CrystalBatch,
    ids: Iterable[str],
    formulas: Iterable[str],
    columns: Mapping[str, pa.Array] | None = None,
    fields: Mapping[str, pa.Field] | None = None,
) -> pa.Table:
    """Return a batch as a crystals table.

    `columns` are further columns in the order of the batch; `fields` gives the Arrow field (type,
    unit in its metadata) of those that need more than their name.
    """
    columns, fields = columns or {}, fields or {}
    offsets = batch.offsets.astype(np.int32)
    arrays = [
        pa.array(map(printable, ids), pa.string()),
        pa.array(formulas, pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(batch.lattice.reshape(-1)), 9),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(batch.atomic_numbers)),
        pa.ListArray.from_arrays(pa.array(offsets * 3), pa.array(batch.frac_coords.reshape(-1))),
        *columns.values(),
    ]
    extra = [fields.get(name, pa.field(name, column.type)) for name, column in columns.items()]
    return pa.Table.from_arrays(arrays, schema=pa.schema([*CRYSTAL_SCHEMA, *extra]))


def check_crystal_schema(
    schema: pa.Schema, source: str, optional: Collection[str] = ("formula",)
) -> None:
    """Raise UserError, in one line, unless `schema` has the columns of a crystals table.

    Those that are `optional` may be missing, or of any type. 32- and 64-bit offsets are both accepted, as are float and integer types that cast without loss.
    """
    for field in CRYSTAL_SCHEMA:
        if field.name in optional:
            continue
        if field.name not in schema.names:
            raise UserError(
                f"{source}: not a crystals table, column {field.name!r} is missing "
                f"(it has {', '.join(schema.names)})"
            )
        found = schema.field(field.name).type
        if field.name != "id" and not _is_list(found):
            raise UserError(f"{source}: column {field.name!r} must be {field.type}, it is {found}")


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def target_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the numeric columns beyond those of `CRYSTAL_SCHEMA`."""
    return [
        field.name
        for field in schema
        if field.name not in CRYSTAL_SCHEMA.names
        and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
    ]


def float_column(rows: pa.Table | pa.RecordBatch, name: str) -> NDArray[np.float64]:
    """Return a column of numbers (n,), NaN for null and where there is no such column."""
    if name not in rows.schema.names:
        return np.full(rows.num_rows, np.nan)
    return rows.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)


def check_target(schema: pa.Schema, target: str, source: str) -> None:
    """Raise UserError, in one line, unless `target` is a numeric column of `schema`."""
    choices = target_columns(schema)
    if target not in choices:
        listed = ", ".join(choices) or "none"
        raise UserError(f"{source}: no target {target!r}; its numeric columns: {listed}")
