"""Some rows of a Parquet table, by their position."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.crystals.storage import Location, table_files


def count_rows(table: str) -> list[int]:
    """Return the number of rows of each file of a Parquet table."""
    return [
        pq.read_metadata(file.path, filesystem=file.filesystem).num_rows
        for file in table_files(table)
    ]


def take_rows(table: str, rows: NDArray[np.int64], columns: list[str] | None = None) -> pa.Table:
    """Return the rows at positions `rows` (n,) of a whole Parquet table, in that order.

    Only row groups with a row that is wanted are read, one at a time.
    """
    files = table_files(table)
    in_order = np.unique(rows)
    firsts = np.cumsum([0, *count_rows(table)])
    parts = [
        part
        for file, (first, last) in zip(files, pairwise(firsts), strict=True)
        for part in _take(file, in_order[(in_order >= first) & (in_order < last)] - first, columns)
    ]
    if not parts:
        schema = pq.read_schema(files[0].path, filesystem=files[0].filesystem)
        found = schema.empty_table().select(columns or schema.names)
    else:
        found = pa.concat_tables(parts, promote_options="permissive")
    return found.take(np.searchsorted(in_order, rows)).combine_chunks()


def _take(file: Location, rows: NDArray[np.int64], columns: list[str] | None) -> list[pa.Table]:
    """Return the rows at ascending positions of one file, a table a row group."""
    if not len(rows):
        return []
    with pq.ParquetFile(file.path, filesystem=file.filesystem) as parquet:
        groups = range(parquet.num_row_groups)
        firsts = np.cumsum([0, *(parquet.metadata.row_group(group).num_rows for group in groups)])
        of_group = np.searchsorted(firsts, rows, side="right") - 1
        return [
            parquet.read_row_group(group, columns).take(rows[of_group == group] - firsts[group])
            for group in np.unique(of_group).tolist()
        ]
