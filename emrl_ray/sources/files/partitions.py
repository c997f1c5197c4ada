"""The partitions in which sources are read: runs of files, of records, of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from emrl_ray.io.archives import Packing, Span
from emrl_ray.io.arrow_buffer import iter_rows
from emrl_ray.sources.files.formats.registry import Format

BRINGS_IDS = (Format.JSON, Format.EXTXYZ)
"""Formats whose crystals may have ids of their own, which the plan does not know."""
SOURCES_NAMED = 3


class Item(NamedTuple):
    """A file of crystals, a member of an archive, or an entry of a JSON file."""

    id: str
    """Id of its crystal, unless it brings one."""
    source: str
    """Where it came from, for people."""
    kind: Format
    root: str
    path: str
    """The file that holds the content: the path within the file system of `root`."""
    span: Span
    """Its place in the file."""


_OFTEN = pa.dictionary(pa.int32(), pa.string())
ITEM_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        *(pa.field(name, _OFTEN) for name in ("kind", "root", "path")),
        *(pa.field(name, pa.int64()) for name in ("start", "stored", "size")),
        pa.field("packing", _OFTEN),
        pa.field("checksum", pa.int64()),
    ]
)
"""The columns of an `Item`."""


class FilePartition(NamedTuple):
    """A run of files."""

    name: str
    table: pa.Table
    """A row an item, with `ITEM_SCHEMA`."""
    before: bytes = b""
    after: bytes = b""
    """What stands around each content when it is parsed: an entry of a JSON file alone is no file."""

    @property
    def items(self) -> Iterator[Item]:
        """The items one by one."""
        for row_id, source, kind, root, path, start, stored, size, packing, checksum in iter_rows(
            self.table
        ):
            span = Span(start, stored, size, Packing(packing), checksum)
            yield Item(row_id, source, Format(kind), root, path, span)

    @property
    def kinds(self) -> set[Format]:
        """The formats of its items."""
        return {Format(kind) for kind in self.table.column("kind").unique().to_pylist()}


class RecordPartition(NamedTuple):
    """Bytes `start:stop` of a CSV file."""

    name: str
    root: str
    path: str
    start: int
    stop: int
    first_record: int
    """Number of the first record in the file, counted from 1 without the header."""
    header: tuple[str, ...]


class TablePartition(NamedTuple):
    """Rows `start:stop` of a row group of a Parquet file."""

    name: str
    root: str
    path: str
    row_group: int
    start: int
    stop: int
    first_row: int
    """Number of the first row in the file, counted from 1."""


class DatabasePartition(NamedTuple):
    """Rows of an ASE database."""

    name: str
    path: str
    rows: pa.Array
    """(n,) ids of the rows in the database."""


Partition = FilePartition | RecordPartition | TablePartition | DatabasePartition


class CsvColumns(NamedTuple):
    """Which columns mean what: `cif` in CSV files, `id` in them and in all other tables."""

    cif: str = "cif"
    id: str = "id"


def item_row(item: Item) -> tuple[str | int, ...]:
    """Return the values of an item in the order of `ITEM_SCHEMA`."""
    start, stored, size, packing, checksum = item.span
    head = (item.id, item.source, item.kind.value, item.root, item.path)
    return (*head, start, stored, size, packing.value, checksum)


def source_of(partition: Partition, row_id: str) -> str:
    """Return where the crystal of an id in a partition came from, as far as the plan can tell."""
    if not isinstance(partition, FilePartition):
        return partition.path
    stem = row_id.rpartition("#")[0] or row_id
    sources: dict[str, str] = {}
    with_ids: dict[str, None] = {}
    for item in partition.items:
        sources.setdefault(item.id, item.source)
        if item.kind in BRINGS_IDS:
            with_ids[item.source] = None
    found = sources.get(row_id) or sources.get(stem)
    if found is None:
        first = [*with_ids][:SOURCES_NAMED]
        found = " or ".join(first) + (" or ..." if len(with_ids) > len(first) else "")
    return found
