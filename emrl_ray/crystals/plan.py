"""The slices in which files of crystals are read: each a run of files, of records or of rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.crystals.archives import Span, decompressed, is_compressed_tar, members
from emrl_ray.crystals.csv_files import ColumnKind, Record, check_header, records
from emrl_ray.crystals.readers import Format
from emrl_ray.crystals.sources import Container, Listing, SourceFile, id_of, is_hidden, kind_of
from emrl_ray.crystals.storage import locate, root_of
from emrl_ray.crystals.tables import CRYSTAL_SCHEMA, ROW_GROUP_ROWS, check_crystal_schema

BUFFER_BYTES = 1 << 20
SLICES_PER_ROW_GROUP = 16
"""At most; a row group is read whole for each of its slices."""


class Item(NamedTuple):
    """A file of crystals, or such a member of an archive."""

    id: str
    """Id of its crystal."""
    source: str
    """Where it came from, for people."""
    kind: Format
    root: str
    path: str
    """The file that holds the content: the path within the file system of `root`."""
    span: Span
    """Its place in the file."""


class FileSlice(NamedTuple):
    """A run of files."""

    name: str
    items: tuple[Item, ...]


class RecordSlice(NamedTuple):
    """Bytes `start:stop` of a CSV file."""

    name: str
    root: str
    path: str
    start: int
    stop: int
    first_record: int
    """Number of the first record in the file, counted from 1 without the header."""
    header: tuple[str, ...]


class TableSlice(NamedTuple):
    """Rows `start:stop` of a row group of a Parquet file."""

    name: str
    root: str
    path: str
    row_group: int
    start: int
    stop: int
    first_row: int
    """Number of the first row in the file, counted from 1."""


Slice = FileSlice | RecordSlice | TableSlice


class CsvColumns(NamedTuple):
    """Which columns of a CSV file mean what."""

    cif: str = "cif"
    id: str = "id"


class Plan(NamedTuple):
    """All that is to be read."""

    slices: list[Slice]
    columns: pa.Schema
    """Columns beyond those of every crystals table that any of the files has."""
    passed_over: list[str]
    """Members of archives that hold no crystals."""

    @property
    def kinds(self) -> set[Format]:
        """Formats that have to be parsed."""
        found = {
            item.kind
            for piece in self.slices
            if isinstance(piece, FileSlice)
            for item in piece.items
        }
        csv_files = any(isinstance(piece, RecordSlice) for piece in self.slices)
        return found | ({Format.CIF} if csv_files else set())


def plan_slices(
    listing: Listing, staging: str, files_per_slice: int, columns: CsvColumns | None = None
) -> Plan:
    """Return the slices of all files, in order; their names depend on the listing alone.

    Compressed tars are unpacked into the folder `staging` (path or URI). Raises ValueError, in one line, for archives and
    tables that are damaged or not what they should be.
    """
    planner = _Planner(staging, files_per_slice, columns or CsvColumns())
    slices: list[Slice] = []
    for piece in planner.pieces(listing.files):
        slices.append(piece._replace(name=f"slice-{len(slices):06d}"))
    return Plan(slices, planner.schema(), planner.passed_over)


class _Planner:
    """Goes through the files and gathers what is known of them on the way."""

    def __init__(self, staging: str, files_per_slice: int, csv_columns: CsvColumns) -> None:
        self.staging = staging
        self.files_per_slice = files_per_slice
        self.csv_columns = csv_columns
        self.fields: dict[str, pa.Field] = {}
        self.passed_over: list[str] = []

    def schema(self) -> pa.Schema:
        """Return the further columns of all tables."""
        return pa.schema(
            field.with_type(pa.float64()) if pa.types.is_null(field.type) else field
            for field in self.fields.values()
        )

    def pieces(self, files: Iterable[SourceFile]) -> Iterator[Slice]:
        """Yield the slices, still without names; runs of files go across folders and archives."""
        run: list[Item] = []
        for file in files:
            if file.kind in (Container.CSV, Container.PARQUET):
                if run:
                    yield FileSlice("", tuple(run))
                    run = []
                yield from self._records(file) if file.kind is Container.CSV else self._rows(file)
                continue
            for item in self._items(file):
                run.append(item)
                if len(run) == self.files_per_slice:
                    yield FileSlice("", tuple(run))
                    run = []
        if run:
            yield FileSlice("", tuple(run))

    def _items(self, file: SourceFile) -> Iterator[Item]:
        if file.kind is not Container.ARCHIVE:
            assert isinstance(file.kind, Format)
            span = Span(0, file.size, file.size)
            yield Item(id_of(file.path), file.path, file.kind, file.root, file.path, span)
            return
        place, root = file.place, file.root
        if is_compressed_tar(file.path):
            place, root = decompressed(place, locate(self.staging)), root_of(self.staging)
        for name, span in members(place):
            kind = kind_of(name)
            if is_hidden(name):
                continue
            if isinstance(kind, Format):
                yield Item(id_of(name), f"{file.path}/{name}", kind, root, place.path, span)
            else:
                self.passed_over.append(f"{file.path}/{name}")

    def _records(self, file: SourceFile) -> Iterator[Slice]:
        place = file.place
        with place.filesystem.open_input_file(place.path) as stream:
            rows = records(io.BufferedReader(cast("Any", stream), BUFFER_BYTES))
            try:
                header = tuple(next(rows, Record(0, 0, [])).fields)
                self._check_csv(header, file.path)
                kinds = {name: ColumnKind() for name in header}
                first = 1
                while run := list(islice(rows, self.files_per_slice)):
                    for record in run:
                        if len(record.fields) == len(header):
                            for name, value in zip(header, record.fields, strict=True):
                                kinds[name].add(value)
                    start, stop = run[0].start, run[-1].stop
                    yield RecordSlice("", file.root, file.path, start, stop, first, header)
                    first += len(run)
            except csv.Error as error:
                raise ValueError(f"{file.path}: not a CSV file ({error})") from None
        for name, kind in kinds.items():
            if name and name != self.csv_columns.cif:
                self._add(pa.field(name, kind.type), file.path)

    def _check_csv(self, header: tuple[str, ...], path: str) -> None:
        check_header(header, self.csv_columns.cif, "--cif-column", path)
        if self.csv_columns.id != CsvColumns().id:
            check_header(header, self.csv_columns.id, "--id-column", path)

    def _rows(self, file: SourceFile) -> Iterator[Slice]:
        place = file.place
        try:
            metadata = pq.read_metadata(place.path, filesystem=place.filesystem)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{file.path}: not a Parquet file ({error})") from None
        schema = metadata.schema.to_arrow_schema()
        named = schema if "id" in schema.names else schema.append(pa.field("id", pa.string()))
        check_crystal_schema(named, file.path)
        for field in schema:
            self._add(field, file.path)
        first = 1
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            step = max(ROW_GROUP_ROWS, -(-rows // SLICES_PER_ROW_GROUP))
            for start in range(0, rows, step):
                stop = min(start + step, rows)
                yield TableSlice("", file.root, file.path, group, start, stop, first + start)
            first += rows

    def _add(self, field: pa.Field, path: str) -> None:
        """Note a further column; raises ValueError if an earlier file has another of that name."""
        if field.name in CRYSTAL_SCHEMA.names or field.name == self.csv_columns.id:
            return
        known = self.fields.setdefault(field.name, field)
        if pa.types.is_null(known.type):
            self.fields[field.name] = field
        elif not pa.types.is_null(field.type) and known.type != field.type:
            raise ValueError(
                f"{path}: column {field.name!r} is {field.type}, in an earlier file {known.type}"
            )


def source_of(piece: Slice, row_id: str) -> str:
    """Return where the crystal of an id in a slice came from, as far as the plan can tell."""
    if not isinstance(piece, FileSlice):
        return piece.path
    stem = row_id.rpartition("#")[0] or row_id
    sources = {item.id: item.source for item in reversed(piece.items)}
    return sources.get(row_id, sources.get(stem, ""))
