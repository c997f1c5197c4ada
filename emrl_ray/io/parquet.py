"""Parquet tables: files of a table, whole, by rows, and written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.config.errors import MissingFileError, UserError, one_line
from emrl_ray.io.atomic import AtomicWrite, write_bytes
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.paths import Location, list_files, resolve

ROWS_AT_ONCE = 1024
"""Rows of a row group that are in memory while it is read."""


class ParquetTable(NamedTuple):
    """A Parquet table whose rows are taken by their position; its footers are read once."""

    files: Sequence[Location]
    footers: Sequence[pq.FileMetaData]

    @classmethod
    def of(cls, table: str) -> Self:
        """Return the rows of a Parquet file, or of a folder of them."""
        files = table_files(table)
        return cls(files, list(map_concurrently(read_footer, files, files[0].filesystem)))

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
            parts = list(map_concurrently(lambda group: group.read(columns), wanted, store))
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


ROW_GROUP_ROWS = 8192
"""Largest row group that we write."""
MAKE_TABLE = "`ingest` makes a table of CIFs and other files of crystals"


def table_files(uri: str | os.PathLike[str]) -> list[Location]:
    """Return the Parquet files of a table: the file itself, or those of the folder.

    Raises MissingFileError, in one line, if there are none.
    """
    if not os.fspath(uri):
        raise MissingFileError("the path of a table is empty (. is the current folder)")
    location = resolve(uri)
    files = [location] if location.is_file() else list_files(location, ".parquet")
    if not files:
        hint = f"; {MAKE_TABLE}" if location.exists() else ""
        raise MissingFileError(f"{uri}: no such Parquet file, nor a folder that holds any{hint}")
    return files


def read_footer(file: Location) -> pq.FileMetaData:
    """Return what the end of a Parquet file tells; UserError, in one line, if it is none."""
    try:
        return pq.read_metadata(file.path, filesystem=file.filesystem)
    except pa.ArrowInvalid as error:
        hint = "" if file.name.endswith(".parquet") else f"; {MAKE_TABLE}"
        why = one_line(error)
        raise UserError(f"{file.path}: not a Parquet file ({why}){hint}") from None


def table_schema(uri: str | os.PathLike[str]) -> pa.Schema:
    """Return the schema of a Parquet table (of its first file); raises as `read_footer` does."""
    return read_footer(table_files(uri)[0]).schema.to_arrow_schema()


def read_table(uri: str | os.PathLike[str], columns: list[str] | None = None) -> pa.Table:
    """Return a whole Parquet table, its files in the order of their names."""
    return pa.concat_tables(
        [
            pq.read_table(file.path, filesystem=file.filesystem, columns=columns)
            for file in table_files(uri)
        ]
    ).combine_chunks()


def iter_tables(uri: str | os.PathLike[str]) -> Iterator[pa.Table]:
    """Yield a Parquet table file by file, in the order of their names."""
    for file in table_files(uri):
        yield pq.read_table(file.path, filesystem=file.filesystem)


def write_parquet(table: pa.Table, target: Location) -> None:
    """Write a table under another name, then move it in place: readers see all of it or nothing."""
    content = pa.BufferOutputStream()
    pq.write_table(table, content, compression="zstd", row_group_size=ROW_GROUP_ROWS)
    write_bytes(content.getvalue(), target)


@contextlib.contextmanager
def parquet_writer(target: Location, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Context: a Parquet file that is written table by table, aside, and moved in place at its end."""
    with (
        AtomicWrite(target) as aside,
        pq.ParquetWriter(
            aside.path, schema, filesystem=aside.filesystem, compression="zstd"
        ) as writer,
    ):
        yield writer
