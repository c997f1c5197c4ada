"""Rows of plain values kept as columns of Arrow: many times smaller than a Python object each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

CHUNK_ROWS = 4096
"""Rows that are Python objects at a time."""


class RowBuffer:
    """Gathers rows one by one."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._chunks: list[pa.RecordBatch] = []
        self._waiting: list[Sequence[Any]] = []

    def __len__(self) -> int:
        """Return the number of rows so far."""
        return sum(chunk.num_rows for chunk in self._chunks) + len(self._waiting)

    def append(self, row: Sequence[Any]) -> None:
        """Add a row, its values in the order of the schema."""
        self._waiting.append(row)
        if len(self._waiting) == CHUNK_ROWS:
            self._pack()

    def table(self) -> pa.Table:
        """Return all rows, and begin anew without any."""
        self._pack()
        table = pa.Table.from_batches(self._chunks, self.schema).combine_chunks()
        self._chunks = []
        return table

    def _pack(self) -> None:
        if self._waiting:
            columns = zip(*self._waiting, strict=True)
            arrays = [
                pa.array(values, field.type)
                for values, field in zip(columns, self.schema, strict=True)
            ]
            self._chunks.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
            self._waiting = []


def iter_rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as tuples; few of them are Python objects at a time."""
    for chunk in table.to_batches(CHUNK_ROWS):
        yield from zip(*(column.to_pylist() for column in chunk.columns), strict=True)
