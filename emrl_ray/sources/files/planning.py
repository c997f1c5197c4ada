"""How sources are cut into partitions: files into runs, tables of all kinds into runs of records or rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple, cast

import pyarrow as pa

from emrl_ray.config.errors import UserError
from emrl_ray.io.archives import Packing, Span, decompressed, extracted, is_compressed_tar, members
from emrl_ray.io.arrow_buffer import RowBuffer
from emrl_ray.io.parquet import ROW_GROUP_ROWS, read_footer
from emrl_ray.io.paths import Location, resolve, root_of
from emrl_ray.io.text import printable
from emrl_ray.sources.files.column_types import ExtraColumns
from emrl_ray.sources.files.file_types import Container, id_of, is_hidden, kind_of, plain
from emrl_ray.sources.files.formats.ase_db import database_rows
from emrl_ray.sources.files.formats.csv import InferredType, Record, check_header, records
from emrl_ray.sources.files.formats.json_stream import Entry, JsonFile
from emrl_ray.sources.files.formats.parquet import check_table, extra_fields
from emrl_ray.sources.files.formats.registry import Format
from emrl_ray.sources.files.formats.structure_json import extra_columns, has_structure, own_id
from emrl_ray.sources.files.listing import Listing, SkippedFiles, SourceFile
from emrl_ray.sources.files.partitions import (
    ITEM_SCHEMA,
    CsvColumns,
    DatabasePartition,
    FilePartition,
    Item,
    Partition,
    RecordPartition,
    TablePartition,
    item_row,
)

BUFFER_BYTES = 1 << 20
PARTITIONS_PER_ROW_GROUP = 16
"""At most; a row group is read whole for each of its partitions."""


class IngestPlan(NamedTuple):
    """All that is to be read."""

    partitions: list[Partition]
    columns: pa.Schema
    """Columns beyond those of every crystals table that any of the files has."""
    passed_over: SkippedFiles
    """Members of archives that hold no crystals."""

    def max_crystals(self, files_per_partition: int) -> int:
        """Return how many files, records and rows are to be read, a run of CSV records as a full one."""
        return sum(_length(partition, files_per_partition) for partition in self.partitions)

    @property
    def kinds(self) -> set[Format]:
        """Formats that have to be parsed."""
        found: set[Format] = set()
        for partition in self.partitions:
            if isinstance(partition, FilePartition):
                found |= partition.kinds
            elif isinstance(partition, RecordPartition):
                found.add(Format.CIF)
            elif isinstance(partition, DatabasePartition):
                found.add(Format.ASE_ROW)
        return found


def plan_partitions(
    listing: Listing, staging: str, files_per_partition: int, columns: CsvColumns | None = None
) -> IngestPlan:
    """Return the partitions of all files, in order; their names depend on the listing alone.

    Compressed tars and tables are unpacked into the folder `staging` (path or URI). Raises UserError, in one line,
    for archives and tables that are damaged or not what they should be, and ImportError, with what to
    install, for a database without ASE.
    """
    planner = _Planner(staging, files_per_partition, columns or CsvColumns())
    partitions: list[Partition] = []
    for partition in planner.partitions(listing.files):
        partitions.append(partition._replace(name=f"slice-{len(partitions):06d}"))
    return IngestPlan(partitions, planner.extra.schema(), planner.passed_over)


class _Planner:
    """Goes through the files and gathers what is known of them on the way."""

    def __init__(self, staging: str, files_per_partition: int, columns: CsvColumns) -> None:
        self.staging = staging
        self.files_per_partition = files_per_partition
        self.columns = columns
        self.extra = ExtraColumns(columns.id)
        self.passed_over = SkippedFiles()
        self.run = RowBuffer(ITEM_SCHEMA)

    def partitions(self, files: Iterable[SourceFile]) -> Iterator[Partition]:
        """Yield the partitions, still without names; runs of files go across folders and archives."""
        for file in files:
            if isinstance(file.kind, Format):
                span = Span(0, file.size, file.size)
                yield from self._item(
                    Item(id_of(file.path), file.path, file.kind, file.root, file.path, span)
                )
            elif file.kind is Container.ARCHIVE:
                yield from self._members(file)
            else:
                yield from self._ended()
                yield from self._table(file)
        yield from self._ended()

    def _item(self, item: Item) -> Iterator[Partition]:
        self.run.append(item_row(item))
        if len(self.run) == self.files_per_partition:
            yield from self._ended()

    def _ended(self) -> Iterator[Partition]:
        """Yield the run of files so far, if there is any."""
        if len(self.run):
            yield FilePartition("", self.run.table())

    def _members(self, file: SourceFile) -> Iterator[Partition]:
        location, root = file.location, file.root
        if is_compressed_tar(file.path):
            location, root = self._unpacked(file)
        items = self._items(file, location, root)
        first = list(islice(items, 2))
        if len(first) == 1 and first[0][0].kind is Format.JSON:  # packed to be smaller
            yield from self._ended()
            yield from self._json_member(file, location, *first[0])
        else:
            for item, _ in chain(first, items):
                yield from self._item(item)

    def _items(self, file: SourceFile, location: Location, root: str) -> Iterator[tuple[Item, str]]:
        """Yield the members of an archive that hold crystals, each with its name in the archive."""
        for name, span in members(location, file.path):
            shown = plain(printable(name))
            kind, source = kind_of(shown), f"{file.path}/{shown}"
            if isinstance(kind, Format) and not is_hidden(shown):
                yield Item(id_of(shown), source, kind, root, location.path, span), name
            else:
                self.passed_over.add(source)

    def _json_member(
        self, file: SourceFile, location: Location, item: Item, name: str
    ) -> Iterator[Partition]:
        span, root = item.span, item.root
        if span.packing is not Packing.PLAIN:
            location, root = extracted(location, name, resolve(self.staging)), root_of(self.staging)
            span = Span(0, span.size, span.size)
        yield from self._entries(item._replace(root=root, path=location.path, span=span), location)

    def _table(self, file: SourceFile) -> Iterator[Partition]:
        """Yield the partitions of a file that holds many crystals."""
        if file.kind is Container.PARQUET:
            yield from self._rows(file)
            return
        if file.kind is Container.ASE:
            yield from self._database(file)
            return
        location, root = file.location, file.root
        if file.path.lower().endswith(".gz"):
            location, root = self._unpacked(file)
        if file.kind is Container.CSV:
            yield from self._records(file, location, root)
        else:
            span = Span(0, location.info.size, location.info.size)
            item = Item(id_of(file.path), file.path, Format.JSON, root, location.path, span)
            yield from self._entries(item, location)

    def _unpacked(self, file: SourceFile) -> tuple[Location, str]:
        return decompressed(file.location, resolve(self.staging)), root_of(self.staging)

    def _records(self, file: SourceFile, location: Location, root: str) -> Iterator[Partition]:
        with location.filesystem.open_input_file(location.path) as stream:
            rows = records(io.BufferedReader(cast("Any", stream), BUFFER_BYTES))
            try:
                header = tuple(next(rows, Record(0, 0, [])).fields)
                self._check_csv(header, file.path)
                kinds = {name: InferredType() for name in header}
                first = 1
                while run := list(islice(rows, self.files_per_partition)):
                    for record in run:
                        if len(record.fields) == len(header):
                            for name, value in zip(header, record.fields, strict=True):
                                kinds[name].add(value)
                    start, stop = run[0].start, run[-1].stop
                    yield RecordPartition("", root, location.path, start, stop, first, header)
                    first += len(run)
            except csv.Error as error:
                raise UserError(f"{file.path}: not a CSV file ({error})") from None
        kinds.pop(self.columns.cif)
        self.extra.add_kinds(kinds, file.path)

    def _check_csv(self, header: tuple[str, ...], path: str) -> None:
        check_header(header, self.columns.cif, "--cif-column", path)
        if self.columns.id != CsvColumns().id:
            check_header(header, self.columns.id, "--id-column", path)

    def _entries(self, whole: Item, location: Location) -> Iterator[Partition]:
        """Yield the partitions of a JSON file, given as the item that it would be as a whole.

        It is one item if none of several entries has a structure.
        """
        kinds: dict[str, InferredType] = {}
        partitions: list[FilePartition] = []
        start, any_structure = whole.span.start, False
        with location.filesystem.open_input_file(location.path) as stream:
            try:
                file = JsonFile(stream, start, start + whole.span.size)
                entries = file.entries()
                first = list(islice(entries, 2))
                rows = RowBuffer(ITEM_SCHEMA)
                for entry in chain(first, entries):
                    columns = file.columns_of(entry)
                    any_structure = any_structure or has_structure(columns)
                    texts = extra_columns(columns)
                    for name, text in texts.items():
                        kinds.setdefault(name, InferredType()).add(text)
                    row_id = texts.get(self.columns.id) or own_id(columns) or entry.name
                    named = entry._replace(name=row_id)
                    rows.append(item_row(_entry_item(whole, named, len(first) == 1)))
                    if len(rows) == self.files_per_partition:
                        partitions.append(FilePartition("", rows.table(), *file.around()))
                if len(rows):
                    partitions.append(FilePartition("", rows.table(), *file.around()))
            except ValueError as error:
                raise UserError(f"{whole.source}: not a JSON file ({error})") from None
        if len(first) > 1 and not any_structure:
            yield from self._item(whole)
            yield from self._ended()
            return
        self.extra.check_ids(kinds, whole.source)
        self.extra.add_kinds({name: kind for name, kind in kinds.items() if kind.any}, whole.source)
        yield from partitions

    def _database(self, file: SourceFile) -> Iterator[Partition]:
        """Yield the partitions of an ASE database, which has to be a local file."""
        if file.root:
            raise UserError(
                f"{file.path}: copy an ASE database to a local folder, {file.root} is none"
            )
        kinds: dict[str, InferredType] = {}
        rows = database_rows(file.path)
        while run := list(islice(rows, self.files_per_partition)):
            for _, values in run:
                for name, text in values.items():
                    kinds.setdefault(name, InferredType()).add(text)
            yield DatabasePartition("", file.path, pa.array([row for row, _ in run], pa.int64()))
        self.extra.check_ids(kinds, file.path)
        self.extra.add_kinds(kinds, file.path)

    def _rows(self, file: SourceFile) -> Iterator[Partition]:
        metadata = read_footer(file.location)
        schema = metadata.schema.to_arrow_schema()
        check_table(schema, self.columns.id, file.path)
        for field in extra_fields(schema):
            self.extra.add(field, file.path)
        first = 1
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            step = max(ROW_GROUP_ROWS, -(-rows // PARTITIONS_PER_ROW_GROUP))
            for start in range(0, rows, step):
                stop = min(start + step, rows)
                yield TablePartition("", file.root, file.path, group, start, stop, first + start)
            first += rows


def _length(partition: Partition, files_per_partition: int) -> int:
    if isinstance(partition, FilePartition):
        return partition.table.num_rows
    if isinstance(partition, TablePartition):
        return partition.stop - partition.start
    return len(partition.rows) if isinstance(partition, DatabasePartition) else files_per_partition


def _entry_item(whole: Item, entry: Entry, only: bool) -> Item:
    """Return an entry of a JSON file as an item; the only one has the id of the file."""
    size = entry.stop - entry.start
    return whole._replace(
        id=entry.name or (whole.id if only else f"{whole.id}#{entry.number}"),
        source=f"{whole.source} entry {entry.name or entry.number}",
        span=Span(entry.start, size, size),
    )
