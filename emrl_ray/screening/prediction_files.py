"""The prediction files of a run, read with several requests at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.crystals.storage import Location
from emrl_ray.screening.filters import EXCLUDED_BY

READERS = 16
"""Files that are read at a time; a request to an object store is mostly waiting."""
FILES_AT_ONCE = 64
"""Files of which what was found is held at a time."""

Found = TypeVar("Found")


def each_file(
    files: Sequence[Location],
    columns: Sequence[str],
    find: Callable[[pa.Table, int], Found],
    readers: Executor,
) -> Iterator[Found]:
    """Yield what `find` makes of each file, in order: of those of the columns that it has, and its number."""

    def read(number: int) -> Found:
        file = files[number]
        with pq.ParquetFile(file.path, filesystem=file.filesystem) as parquet:
            names = [name for name in columns if name in parquet.schema_arrow.names]
            return find(parquet.read(names, use_threads=False), number)

    for first in range(0, len(files), FILES_AT_ONCE):
        yield from readers.map(read, range(first, min(first + FILES_AT_ONCE, len(files))))


def read_rows(files: Sequence[Location], best: pa.Table, readers: Executor) -> pa.Table:
    """Return the rows, in full, that `best` (`ranking.BEST`) names, in its order."""
    file, row = best.column("file").to_numpy(), best.column("row").to_numpy()
    by_place = np.lexsort((row, file))

    def read(group: NDArray[np.int64]) -> pa.Table:
        place = files[file[group[0]]]
        table = pq.read_table(place.path, filesystem=place.filesystem, use_threads=False)
        return table.take(row[group])

    if best.num_rows:
        groups = np.split(by_place, np.flatnonzero(np.diff(file[by_place])) + 1)
        tables = list(readers.map(read, groups))
        found = pa.concat_tables(tables, promote_options="permissive")
        found = found.take(np.argsort(by_place)).combine_chunks()
    else:
        found = pq.read_schema(files[0].path, filesystem=files[0].filesystem).empty_table()
    return found.drop_columns(EXCLUDED_BY) if EXCLUDED_BY in found.column_names else found
