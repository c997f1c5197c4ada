"""The crystals of a map, and the columns of its table that do not depend on where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from emrl_ray.config import UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.composition import CLASSES, anions, composition_classes, metal_content
from emrl_ray.crystals.elements import reduced_formula
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, GEOMETRY
from emrl_ray.io.parquet import ParquetTable
from emrl_ray.reports.embedding_map.colorings import is_number

TARGET = "target"
COMPUTED = ("class", "metal_content", "anion")
"""Colourings that come from the composition."""


def check_colors(colors: Sequence[str], schema: pa.Schema, source: str) -> None:
    """Raise UserError, in one line, at a colouring that is none and no column of the table."""
    own = [
        field.name
        for field in schema
        if field.name not in CRYSTAL_SCHEMA.names
        and (is_number(field.type) or _is_text(field.type) or pa.types.is_boolean(field.type))
    ]
    for color in colors:
        if color not in (TARGET, *COMPUTED, *own):
            extra = f"or a column of {source}: {', '.join(own)}" if own else "as it has no others"
            raise UserError(f"--color {color}: give {TARGET}, {', '.join(COMPUTED)}, {extra}")


def sample_rows(crystals: str, columns: list[str], rows: int, seed: int) -> pa.Table:
    """Return a random sample of at most `rows` rows of a Parquet table, in the table's order.

    One row group at a time is in memory.
    """
    table = ParquetTable.of(crystals)
    drawn = np.arange(table.num_rows)
    if len(drawn) > rows:
        drawn = np.sort(np.random.default_rng(seed).choice(len(drawn), rows, replace=False))
    return table.take(drawn, columns)


def described(crystals: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return id, formula, class, metal_content and further `columns` of a valid crystals table.

    `columns` are among its own, or "anion", the element that makes the class.
    """
    batch = CrystalBatch.from_arrow(crystals)
    found = {
        "id": crystals.column("id").cast(pa.string()),
        "formula": _formulas(crystals, batch),
        "class": pa.array([CLASSES[code] for code in composition_classes(batch)], pa.string()),
        "metal_content": pa.array(metal_content(batch)),
    }
    fields = [pa.field(name, column.type) for name, column in found.items()]
    for name in columns:
        if name in found:
            continue
        if name == "anion":
            found[name] = pa.array(anions(batch), pa.string())
            fields.append(pa.field(name, pa.string()))
        else:
            found[name] = crystals.column(name)
            fields.append(crystals.schema.field(name))
    return pa.table(list(found.values()), schema=pa.schema(fields))


def columns_to_read(schema: pa.Schema, wanted: Sequence[str]) -> list[str]:
    """Return the columns of a crystals table that a map with the `wanted` ones reads."""
    needed = ["id", "formula", *GEOMETRY, *(name for name in wanted if name not in COMPUTED)]
    return [name for name in dict.fromkeys(needed) if name in schema.names]


def _formulas(crystals: pa.Table, batch: CrystalBatch) -> pa.Array:
    """Return the formula of each crystal, the table's own where it has one."""
    rows = crystals.num_rows
    given = crystals.column("formula").to_pylist() if "formula" in crystals.column_names else None
    atoms = zip(given or [None] * rows, pairwise(batch.offsets), strict=True)
    return pa.array(
        [own or reduced_formula(batch.atomic_numbers[i:j]) for own, (i, j) in atoms], pa.string()
    )


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
