"""Some rows of a Parquet table, by their position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.io.concurrent import read_each
from emrl_ray.io.storage import Location, read_footer, table_files

ROWS_AT_ONCE = 1024
"""Rows of a row group that are in memory while it is read."""


class TableRows(NamedTuple):
    """A Parquet table whose rows are taken by their position; its footers are read once."""

    files: Sequence[Location]
    footers: Sequence[pq.FileMetaData]

    @classmethod
    def of(cls, table: str) -> Self:
        """Return the rows of a Parquet file, or of a folder of them."""
        files = table_files(table)
        return cls(files, list(read_each(read_footer, files, files[0].filesystem)))

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return sum(footer.num_rows for footer in self.footers)

    def take(self, rows: NDArray[np.int64], columns: list[str] | None = None) -> pa.Table:
        """Return the rows at positions `rows` (n,), in that order.

        Only row groups with a row that is wanted are read, a few at a time.
        """
        in_order = np.unique(rows)
        wanted = list(self._wanted(in_order))
        if wanted:
            store = self.files[0].filesystem
            parts = list(read_each(lambda group: group.read(columns), wanted, store))
            found = pa.concat_tables(parts, promote_options="permissive")
        else:
            schema = self.footers[0].schema.to_arrow_schema()
            found = schema.empty_table().select(columns or schema.names)
        return found.take(np.searchsorted(in_order, rows)).combine_chunks()

    def _wanted(self, rows: NDArray[np.int64]) -> Iterator[_Wanted]:
        """Yield the row groups that hold any of the ascending `rows`."""
        first_row = 0
        for file, footer in zip(self.files, self.footers, strict=True):
            for group in range(footer.num_row_groups):
                count = footer.row_group(group).num_rows
                within = rows_within(rows, first_row, count)
                if len(within):
                    yield _Wanted(file, footer, group, within)
                first_row += count


def rows_within(rows: NDArray[np.int64], start: int, count: int) -> NDArray[np.int64]:
    """Return those of the ascending `rows` that are among the `count` from `start` on, counted from there."""
    begin, end = np.searchsorted(rows, [start, start + count])
    return rows[begin:end] - start


class _Wanted(NamedTuple):
    """Rows of a row group."""

    file: Location
    footer: pq.FileMetaData
    group: int
    rows: NDArray[np.int64]
    """Their positions in it, ascending."""

    def read(self, columns: list[str] | None) -> pa.Table:
        """Return them."""
        start, parts = 0, []
        with pq.ParquetFile(
            self.file.path, metadata=self.footer, filesystem=self.file.filesystem
        ) as parquet:
            for batch in parquet.iter_batches(
                ROWS_AT_ONCE, row_groups=[self.group], columns=columns, use_threads=False
            ):
                parts.append(batch.take(pa.array(rows_within(self.rows, start, batch.num_rows))))
                start += batch.num_rows
        return pa.Table.from_batches(parts)
