"""ASE databases (`.db`, SQLite): a crystal a row, its key-value pairs and its energy as further columns.

ASE reads them; it is optional (extra `ase`) and imported where it is used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from emrl_ray.config.errors import MissingPackageError, UserError
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure, ReadError, attempt

HINT = "pip install 'emrl-ray[ase]'"
ROWS_AT_A_TIME = 1000
"""ASE fetches all rows of a query at once."""


def database_rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the id and the key-value pairs, as texts, of each row of a local database, by id.

    Raises UserError, in one line, for a file that is no ASE database, and ImportError, with what to
    install, without ASE.
    """
    _check(path)
    database = _connected(path)
    try:
        last = max(
            (row.id for row in database.select(limit=1, sort="-id", columns=["id"])), default=0
        )
        for first in range(1, last + 1, ROWS_AT_A_TIME):
            some = [("id", ">=", first), ("id", "<", first + ROWS_AT_A_TIME)]
            for row in database.select(
                some, sort="id", include_data=False, columns=["id", "energy", "key_value_pairs"]
            ):
                yield row.id, _texts(row)
    except (sqlite3.DatabaseError, OSError) as error:
        raise UserError(f"{path}: damaged database ({error})") from None


def read_row(address: str) -> list[ParsedCrystal | ParseFailure]:
    """Return the crystal of a row; its address is `ID PATH`."""
    number, _, path = address.partition(" ")
    return [attempt(_crystal, path, int(number))]


def _crystal(path: str, number: int) -> ParsedCrystal:
    (row,) = _connected(path).select(id=number, include_data=False)
    atoms = np.asarray(row.numbers)
    if not len(atoms):
        raise ReadError(RejectReason.NO_ATOMS)
    if not np.all(row.pbc):
        periodic = " ".join("FT"[bool(flag)] for flag in row.pbc)
        raise ReadError(RejectReason.BAD_CELL, f"not periodic in all directions: pbc={periodic}")
    if atoms.min() < 1 or atoms.max() > 118:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"atomic number {atoms.min()}, {atoms.max()}")
    lattice = np.array(row.cell, np.float64)
    coords = np.asarray(row.positions, np.float64) @ np.linalg.inv(lattice)
    return ParsedCrystal(lattice, atoms.astype(np.uint8), coords, None, _texts(row))


def _texts(row: Any) -> dict[str, str]:
    """Return the key-value pairs of a row, and its energy, as texts: numbers, words, truth values."""
    values = dict(row.key_value_pairs)
    if row.get("energy") is not None:
        values["energy"] = float(row.energy)
    return {
        key: str(value).lower() if isinstance(value, (bool, np.bool_)) else str(value)
        for key, value in values.items()
    }


def _check(path: str) -> None:
    """Raise UserError, in one line, unless a file has the tables of an ASE database.

    ASE would make the tables in any file of SQLite that lacks them.
    """
    uri = f"{Path(path).as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path}: not an ASE database ({error})") from None
    if not {"systems", "keys"} <= tables:
        raise UserError(f"{path}: not an ASE database (it has no table of systems)")


@lru_cache(maxsize=8)
def _connected(path: str) -> Any:
    try:
        from ase.db import connect
    except ImportError:
        raise MissingPackageError(f"{path} is an ASE database: {HINT}", name="ase") from None
    return connect(path, type="db", use_lock_file=False)
