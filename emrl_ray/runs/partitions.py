"""The partitions of a Parquet table: which there are, and their rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.schema import GEOMETRY
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.parquet import read_footer, table_files
from emrl_ray.io.paths import Location, resolve


class RowPartition(NamedTuple):
    """Rows `start:stop` of one row group of one Parquet file."""

    name: str
    file: str
    row_group: int
    start: int
    stop: int
    first_row: int
    """Position of the partition's first row in the whole table."""


def plan_rows(table: str, max_rows: int, max_atoms: float = math.inf) -> list[RowPartition]:
    """Return the partitions of a Parquet table, in order.

    Each has at most `max_rows` rows; those of a row group whose crystals have more than `max_atoms`
    atoms together are so much smaller that on average they have no more. Raises UserError, in
    one line, if a file is no Parquet file, or has not what the first one has.
    """
    files = table_files(table)
    footers = list(map_concurrently(read_footer, files, files[0].filesystem))
    _check_alike(files, footers)
    partitions: list[RowPartition] = []
    first_row = 0
    for file, metadata in zip(files, footers, strict=True):
        uri = _uri(table, file)
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            parts = max(1, math.ceil(_atoms(metadata.row_group(group)) / max_atoms))
            step = max(1, min(max_rows, math.ceil(rows / parts)))
            for start in range(0, rows, step):
                stop = min(start + step, rows)
                name = f"slice-{len(partitions):06d}"
                partitions.append(RowPartition(name, uri, group, start, stop, first_row + start))
            first_row += rows
    return partitions


def rows_in(partitions: Iterable[RowPartition]) -> int:
    """Return how many rows the partitions have together."""
    return sum(partition.stop - partition.start for partition in partitions)


def _atoms(group: pq.RowGroupMetaData) -> int:
    """Return how many atoms the crystals of a row group have; 0 in a table that does not tell."""
    columns = (group.column(index) for index in range(group.num_columns))
    return sum(
        column.num_values
        for column in columns
        if column.path_in_schema.startswith("atomic_numbers.")
    )


def _check_alike(files: Sequence[Location], footers: Sequence[pq.FileMetaData]) -> None:
    """Raise UserError, in one line, at a file without the id or the geometry that the first one has."""
    columns = [set(footer.schema.to_arrow_schema().names) for footer in footers]
    for name in ("id", *GEOMETRY):
        for file, names in zip(files, columns, strict=True):
            if name in columns[0] and name not in names:
                raise UserError(f"{file.path}: has no column {name!r}, {files[0].name} has")


def _uri(table: str, file: Location) -> str:
    if "://" not in table:
        return file.path
    uri, question, query = table.partition("?")
    return f"{uri.split('://')[0]}://{file.path}{question}{query}"


def read_partition(partition: RowPartition) -> pa.Table:
    """Return the rows of a partition, all columns."""
    location = resolve(partition.file)
    with pq.ParquetFile(location.path, filesystem=location.filesystem) as parquet:
        group = parquet.read_row_group(partition.row_group)
    return group.slice(partition.start, partition.stop - partition.start)


def iter_partition(
    partition: RowPartition, columns: Sequence[str], rows: int
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the rows of a partition, some columns, at most `rows` at a time.

    With each part comes the position of its first row in the whole table.
    """
    location = resolve(partition.file)
    with pq.ParquetFile(location.path, filesystem=location.filesystem) as parquet:
        at = 0  # row of the row group
        for batch in parquet.iter_batches(rows, [partition.row_group], list(columns)):
            first, last = max(at, partition.start), min(at + batch.num_rows, partition.stop)
            if first < last:
                part = batch.slice(first - at, last - first)
                yield partition.first_row + first - partition.start, pa.Table.from_batches([part])
            at += batch.num_rows
