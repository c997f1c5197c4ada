"""Parquet files of crystals: our own tables, and structures named as OPTIMADE does (LeMaterial).

OPTIMADE's columns are `lattice_vectors` (Å), `cartesian_site_positions` (Å), `species_at_sites` and, where it is
there, `species` (a list, or the same as JSON), which says what a name of a species stands for; without it the
names are symbols of elements. A crystal has to be periodic in all directions (`dimension_types`,
`nperiodic_dimensions`), and every site be filled by one element. Columns of lists are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.crystals.cif import OCCUPANCY_TOLERANCE
from emrl_ray.crystals.crystal import Crystal, Flaw, ReadError, attempt
from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.crystals.storage import Location
from emrl_ray.crystals.tables import (
    CRYSTAL_SCHEMA,
    GEOMETRY,
    READ_BY,
    RejectReason,
    check_crystal_schema,
)

SITES = ("lattice_vectors", "cartesian_site_positions", "species_at_sites")
"""What tells a table named as OPTIMADE does."""
ABOUT_SITES = (*SITES, "species", "dimension_types", "nperiodic_dimensions")
ID_NAMES = ("id", "immutable_id")
"""Columns of ids, where none is named."""


def is_optimade(schema: pa.Schema) -> bool:
    """Return whether a table has its structures as OPTIMADE names them."""
    return {*SITES} <= {*schema.names}


def check_table(schema: pa.Schema, id_column: str, source: str) -> None:
    """Raise ValueError, in one line, unless a Parquet table holds crystals, and ids if they are named."""
    if id_column not in ("id", *schema.names):
        raise ValueError(f"{source}: no column {id_column!r} (it has {', '.join(schema.names)})")
    if not is_optimade(schema):
        named = schema if "id" in schema.names else schema.append(pa.field("id", pa.string()))
        check_crystal_schema(named, source)


def further_fields(schema: pa.Schema) -> list[pa.Field]:
    """Return the columns of a table beyond those that make its crystals."""
    if not is_optimade(schema):
        return [field for field in schema if field.name not in CRYSTAL_SCHEMA.names]
    return [
        field
        for field in schema
        if field.name not in (*CRYSTAL_SCHEMA.names, *ABOUT_SITES)
        and not pa.types.is_nested(field.type)
    ]


def read_rows(place: Location, row_group: int, start: int, stop: int, id_column: str) -> pa.Table:
    """Return rows `start:stop` of a row group: the columns of crystals, those of ids, and further ones."""
    with pq.ParquetFile(place.path, filesystem=place.filesystem) as parquet:
        schema = parquet.schema_arrow
        about = ABOUT_SITES if is_optimade(schema) else (*GEOMETRY, "formula")
        wanted = {*about, *ID_NAMES, id_column, READ_BY}
        wanted |= {field.name for field in further_fields(schema)}
        names = [name for name in schema.names if name in wanted]
        return parquet.read_row_group(row_group, names).slice(start, stop - start)


def id_column_of(table: pa.Table, id_column: str) -> str | None:
    """Return which column of a table holds its ids; None if none does."""
    names = (id_column,) if id_column != "id" else ID_NAMES
    return next((name for name in names if name in table.column_names), None)


def crystals_of(table: pa.Table) -> Iterator[Crystal | Flaw]:
    """Yield the crystal of each row of a table whose columns OPTIMADE names."""
    names = [name for name in ABOUT_SITES if name in table.column_names]
    for chunk in table.select(names).to_batches(1024):
        for row in chunk.to_pylist():
            yield attempt(_crystal, row)


def _crystal(row: Mapping[str, Any]) -> Crystal:
    vectors, positions, species = (row[name] for name in SITES)
    if not species:
        raise ReadError(RejectReason.NO_ATOMS)
    _check_periodic(row)
    lattice = _numbers(vectors, 3, RejectReason.BAD_CELL)
    cartesian = _numbers(positions, len(species), RejectReason.BAD_COORDINATES)
    meanings = _meanings(row.get("species"))
    numbers = [_atomic_number(name, meanings) for name in species]
    return Crystal(lattice, np.array(numbers, np.uint8), cartesian @ np.linalg.inv(lattice))


def _check_periodic(row: Mapping[str, Any]) -> None:
    """Raise ReadError if a row says that its structure is not periodic in three directions."""
    types, count = row.get("dimension_types"), row.get("nperiodic_dimensions")
    if (types is not None and list(types) != [1, 1, 1]) or count not in (None, 3):
        raise ReadError(RejectReason.BAD_CELL, "not periodic in all directions")


def _numbers(rows: Any, count: int, reason: RejectReason) -> np.ndarray:
    try:
        found = np.array(rows, np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (count, 3) or not np.isfinite(found).all():
        raise ReadError(reason, f"not {count} times three finite numbers")
    return found


def _meanings(species: Any) -> dict[str, Mapping[str, Any]]:
    """Return what the names of species stand for; none where the row does not say."""
    listed = json.loads(species) if isinstance(species, str) else species
    return {each["name"]: each for each in listed or ()}


def _atomic_number(name: str, meanings: Mapping[str, Mapping[str, Any]]) -> int:
    symbols, shares = [name], [1.0]
    if name in meanings:
        symbols = list(meanings[name]["chemical_symbols"])
        shares = list(meanings[name]["concentration"])
    elif meanings:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"no species {name!r} among those listed")
    if len(symbols) != 1 or abs(shares[0] - 1) > OCCUPANCY_TOLERANCE:
        mixed = ", ".join(
            f"{symbol} {share}" for symbol, share in zip(symbols, shares, strict=False)
        )
        raise ReadError(RejectReason.DISORDERED, f"species {name!r} is {mixed}")
    number = ATOMIC_NUMBERS.get(symbols[0])
    if number is None:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"species {symbols[0]!r}")
    return number
