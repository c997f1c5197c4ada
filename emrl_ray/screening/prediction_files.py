"""The prediction files of a run, and the structures that they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError, one_line
from emrl_ray.crystals.schema import GEOMETRY
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.parquet import ParquetTable
from emrl_ray.io.paths import Location
from emrl_ray.screening.filters import EXCLUDED_BY

LIBRARY_ROW = "library_row"
"""Column of the predictions: position of the candidate in the library."""

BATCH_ROWS = 1 << 16
"""Rows that `batches` reads together."""

Found = TypeVar("Found")


def each_file(
    files: Sequence[Location], columns: Sequence[str], find: Callable[[pa.Table, int], Found]
) -> Iterator[Found]:
    """Yield what `find` makes of each file, in order: of those of the columns that it has, and its number."""

    def read(number: int) -> Found:
        file = files[number]
        with pq.ParquetFile(file.path, filesystem=file.filesystem) as parquet:
            names = [name for name in columns if name in parquet.schema_arrow.names]
            return find(parquet.read(names, use_threads=False), number)

    if files:
        yield from map_concurrently(read, range(len(files)), files[0].filesystem)


@contextmanager
def damage_named(location: str) -> Iterator[None]:
    """Raise UserError, in one line that names the file, for what a damaged Parquet file leads to."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        why = one_line(error)
        raise UserError(f"{location}: a damaged file of the run: {why}") from error


def batches(file: Location, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield those of `columns` that a file of a run has, in batches; UserError if it is damaged."""
    with (
        damage_named(file.path),
        pq.ParquetFile(file.path, filesystem=file.filesystem) as parquet,
    ):
        names = [name for name in columns if name in parquet.schema_arrow.names]
        yield from parquet.iter_batches(BATCH_ROWS, columns=names, use_threads=False)


def read_rows(files: Sequence[Location], best: pa.Table, library: ParquetTable) -> pa.Table:
    """Return the rows, in full, that `best` (`ranking.RANKED_SCHEMA`) names, in its order, with their structures.

    `library` is the crystals table that these were predicted of.
    """
    file, row = best.column("file").to_numpy(), best.column("row").to_numpy()
    by_place = np.lexsort((row, file))

    def read(group: NDArray[np.int64]) -> pa.Table:
        location = files[file[group[0]]]
        with pq.ParquetFile(location.path, filesystem=location.filesystem) as parquet:
            return parquet.read(use_threads=False).take(row[group])

    if best.num_rows:
        groups = np.split(by_place, np.flatnonzero(np.diff(file[by_place])) + 1)
        tables = list(map_concurrently(read, groups, files[0].filesystem))
        found = pa.concat_tables(tables, promote_options="permissive")
        found = found.take(np.argsort(by_place)).combine_chunks()
    else:
        found = pq.read_schema(files[0].path, filesystem=files[0].filesystem).empty_table()
    if EXCLUDED_BY in found.column_names:
        found = found.drop_columns(EXCLUDED_BY)
    structures = library.take(found.column(LIBRARY_ROW).to_numpy(), list(GEOMETRY))
    for name in GEOMETRY:
        found = found.append_column(structures.schema.field(name), structures.column(name))
    return found
