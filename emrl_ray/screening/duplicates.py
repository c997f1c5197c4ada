"""Which ranked candidates are the same crystals as those that are shown.

The same crystal has the same formula and, up to rounding, the same embedding, and so the same place
on the map. Its prediction need not be the same: a rounded digit may lead to another leaf of a tree.
So all ranked rows are looked through by formula and place, and the few that agree by structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.crystals.matching.matcher import StructureIndex
from emrl_ray.crystals.schema import GEOMETRY
from emrl_ray.io.parquet import ParquetTable
from emrl_ray.io.paths import Location
from emrl_ray.model import Model
from emrl_ray.screening.prediction_files import LIBRARY_ROW, each_file
from emrl_ray.screening.ranking import RANKED_SCHEMA, Ranking, ranked_rows
from emrl_ray.screening.selection import among_first

MARKS = ("formula", "map_x", "map_y", LIBRARY_ROW)
"""Columns of the predictions by which rows are looked through."""
REACH = 0.01
"""Share of the map's spread, its standard deviation along x, within which the same crystal lies: rounding
to four decimals moves one of HOIP or MPS by up to 0.006 of it."""
MAX_NEIGHBORS = 256
"""Most rows that are compared with a crystal, the first ones of the library."""
AT_ONCE = 4096
"""Structures that are held at a time."""
DUPLICATE_COLUMNS = RANKED_SCHEMA.append(pa.field(LIBRARY_ROW, pa.int64()))


class Duplicates(NamedTuple):
    """Ranked rows that are crystals which are shown."""

    rows: pa.Table
    """`ranking.RANKED_SCHEMA` and `library_row`, in the order of the library, without those shown."""
    shown: NDArray[np.int64]
    """(n,) which of the shown rows each is."""
    cut: int
    """Shown rows of which more than `MAX_NEIGHBORS` others have formula and place: not all were compared."""


def map_tolerance(model: Model) -> float:
    """Return how far apart on a model's map the same crystal may lie, along x and along y."""
    places = model.plane.project(model.reference_embeddings)
    return REACH * float(places[:, 0].std()) if len(places) else 0.0


def find_duplicates(
    files: Sequence[Location],
    library: ParquetTable,
    ranking: Ranking,
    shown: pa.Table,
    reach: float,
) -> Duplicates:
    """Return the ranked rows of prediction files that are the crystals of other rows, `shown`.

    `shown` has `MARKS` and the geometry, `library` is the crystals table, `reach` how far
    apart on the map the same crystal may lie, along x and along y.
    """
    marks = _Marks.of(shown, reach)
    seen = np.zeros(shown.num_rows, np.int64)
    parts = [DUPLICATE_COLUMNS.empty_table()]
    files = files if shown.num_rows else ()

    def candidates(predictions: pa.Table, number: int) -> tuple[pa.Table, _Pairs]:
        table, _ = ranked_rows(predictions, number, ranking)
        own = predictions.select(MARKS).take(table.column("row"))
        pairs = marks.pairs(own)
        found = table.append_column(DUPLICATE_COLUMNS.field(LIBRARY_ROW), own.column(LIBRARY_ROW))
        kept, row = np.unique(pairs.row, return_inverse=True)
        return found.take(kept), _Pairs(row, pairs.shown)

    for table, pairs in each_file(files, [*ranking.columns, *MARKS], candidates):
        compared = among_first(pairs.shown, MAX_NEIGHBORS, seen)
        parts.append(table.take(np.unique(pairs.row[compared])))
    rows = pa.concat_tables(parts).combine_chunks()
    same = _same(rows.column(LIBRARY_ROW).to_numpy(), shown, library)
    found = np.flatnonzero(same >= 0)
    return Duplicates(rows.take(found), same[found], int((seen > MAX_NEIGHBORS).sum()))


class _Pairs(NamedTuple):
    """Rows that may be the crystals of shown ones."""

    row: NDArray[np.int64]
    shown: NDArray[np.int64]


class _Marks(NamedTuple):
    """What tells k shown rows from most others; ordered by x."""

    order: NDArray[np.int64]
    """(k,) their numbers."""
    library_row: NDArray[np.int64]
    """(k,)"""
    formula: pa.Array
    place: NDArray[np.float64]
    """(k, 2)"""
    reach: float

    @classmethod
    def of(cls, shown: pa.Table, reach: float) -> Self:
        """Return the marks of rows."""
        order = np.argsort(shown.column("map_x").to_numpy(), kind="stable")
        shown = shown.select(MARKS).take(order).combine_chunks()
        own = np.sort(shown.column(LIBRARY_ROW).to_numpy())
        return cls(order, own, _formulas(shown), _places(shown), reach)

    def pairs(self, rows: pa.Table) -> _Pairs:
        """Return which of other rows have formula and place of which shown ones, by row."""
        place = _places(rows)
        first = np.searchsorted(self.place[:, 0], place[:, 0] - self.reach)
        count = np.searchsorted(self.place[:, 0], place[:, 0] + self.reach, "right") - first
        count[np.isin(rows.column(LIBRARY_ROW).to_numpy(), self.library_row)] = 0
        row = np.repeat(np.arange(len(place)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        near = np.repeat(first, count) + within
        close = np.abs(place[row, 1] - self.place[near, 1]) <= self.reach
        row, near = row[close], near[close]
        theirs, own = _formulas(rows).take(pa.array(row)), self.formula.take(pa.array(near))
        equal = np.array(pc.equal(theirs, own), bool)
        return _Pairs(row[equal], self.order[near[equal]])


def _formulas(rows: pa.Table) -> pa.Array:
    """Return the formulas, empty where a library has none."""
    formulas = rows.column("formula").cast(pa.string()).combine_chunks()
    return pc.fill_null(formulas, "")


def _places(rows: pa.Table) -> NDArray[np.float64]:
    """Return the places (n, 2) on the map."""
    return np.stack([rows.column(name).to_numpy() for name in ("map_x", "map_y")], 1, dtype=float)


def _same(rows: NDArray[np.int64], shown: pa.Table, library: ParquetTable) -> NDArray[np.int64]:
    """Return (n,) which shown row's crystal each row of the library is, -1 if none's."""
    if not len(rows):
        return np.zeros(0, np.int64)
    batch = CrystalBatch.from_arrow(shown.select(GEOMETRY))
    known = StructureIndex(batch, find_contacts(batch))
    found = []
    for first in range(0, len(rows), AT_ONCE):
        table = library.take(rows[first : first + AT_ONCE], list(GEOMETRY))
        others = CrystalBatch.from_arrow(table)
        found.append(known.find(others, find_contacts(others)))
    return np.concatenate(found)
