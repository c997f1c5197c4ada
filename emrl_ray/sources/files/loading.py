"""From a partition of files, records or rows to a crystals table, and a reject for all that is none."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import IO, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, GEOMETRY, READ_BY, Reject, RejectReason, Stage
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.io.archives import ArchiveError, read_member_bytes
from emrl_ray.io.paths import location_in
from emrl_ray.io.text import printable
from emrl_ray.sources.files.assembling import Row, Rows, as_crystals, geometry, rows_of, with_ids
from emrl_ray.sources.files.file_types import id_of
from emrl_ray.sources.files.formats.csv import records
from emrl_ray.sources.files.formats.parquet import crystals_of, id_column_of, is_optimade, read_rows
from emrl_ray.sources.files.formats.registry import PARSERS, Format
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure, failure_of
from emrl_ray.sources.files.parser_pool import Document, ParserPool
from emrl_ray.sources.files.partitions import (
    CsvColumns,
    DatabasePartition,
    FilePartition,
    Partition,
    RecordPartition,
    TablePartition,
)

BUFFER_BYTES = 1 << 18
HASH_LENGTH = 16
"""Hexadecimal digits of an id that is a hash of the content."""


class Loaded(NamedTuple):
    """What a partition holds."""

    crystals: pa.Table
    """Crystals table of the valid crystals, with the further columns of the plan."""
    read_by: pa.Array
    """The library that read each of them."""
    sources: dict[str, str]
    """Where the crystal of an id came from."""
    rejects: list[Reject]
    rows_in: int
    """Crystals and files without one: rows of `crystals` and rejects together."""

    def located(self, rejects: Iterable[Reject]) -> list[Reject]:
        """Return rejects of these crystals with where each came from."""
        return [reject._replace(source=self.sources.get(reject.id, "")) for reject in rejects]


class Content(NamedTuple):
    """A file or record before it is parsed."""

    id: str
    source: str
    document: Document | ParseFailure
    """Its content is empty once it has been handed to the parsers."""
    fields: Mapping[str, str] = MappingProxyType({})
    """Values of the further columns."""


class Loader:
    """Loads partitions, with a pool of parsers that it shares among them."""

    def __init__(
        self,
        columns: pa.Schema,
        limits: ValidationLimits,
        pool: ParserPool,
        csv_columns: CsvColumns,
    ) -> None:
        """Make a loader for the partitions of one plan; `columns` are those of the plan."""
        self.columns = columns
        self.limits = limits
        self.pool = pool
        self.csv_columns = csv_columns

    def __call__(self, partition: Partition) -> Loaded:
        """Return what a partition holds."""
        if isinstance(partition, TablePartition):
            table, sources, rejects = self._rows(partition)
        elif isinstance(partition, RecordPartition):
            table, sources, rejects = self._parsed(self._records(partition))
        elif isinstance(partition, DatabasePartition):
            table, sources, rejects = self._parsed(_database(partition))
        else:
            table, sources, rejects = self._parsed(_files(partition))
        good, invalid = validate(table, self.limits, sources)
        return Loaded(
            as_crystals(good, self.columns),
            good.column(READ_BY).combine_chunks(),
            dict(zip(table.column("id").to_pylist(), sources, strict=True)),
            rejects + invalid,
            table.num_rows + len(rejects),
        )

    def _parsed(self, contents: Iterable[Content]) -> Rows:
        """Return the crystals of contents, and the rejects."""
        sent: list[Content] = []
        results = iter([*self.pool.read(_documents(contents, sent))])
        found: list[Row] = []
        rejects: list[Reject] = []
        for content in sent:
            document = content.document
            entries = [document] if isinstance(document, ParseFailure) else next(results)
            for number, entry in enumerate(entries, 1):
                label = number if entry.number is None else entry.number
                row_id = content.id if len(entries) == 1 else f"{content.id}#{label}"
                outcome = self._checked(entry)
                if isinstance(outcome, ParseFailure):
                    rejects.append(outcome.reject(outcome.id or row_id, content.source, Stage.READ))
                else:
                    own = outcome.values.get(self.csv_columns.id) or outcome.id
                    values = outcome.values or content.fields
                    parser = PARSERS[cast("Document", document).kind]
                    found.append(Row(outcome, own or row_id, content.source, values, parser))
        return rows_of(found, rejects, self.columns)

    def _checked(self, entry: ParsedCrystal | ParseFailure) -> ParsedCrystal | ParseFailure:
        """Return a crystal, or a flaw if the plan did not know of its columns: they would be lost."""
        if isinstance(entry, ParseFailure) or not entry.values:
            return entry
        known = {*self.columns.names, *CRYSTAL_SCHEMA.names, READ_BY, self.csv_columns.id}
        unknown = sorted({name for name, text in entry.values.items() if text} - known)
        if not unknown:
            return entry
        detail = f"has columns ({', '.join(unknown)[:100]}): name the file itself to read them"
        return ParseFailure(RejectReason.UNSUPPORTED, detail, entry.id, entry.number)

    def _records(self, partition: RecordPartition) -> Iterator[Content]:
        location = location_in(partition.root, partition.path)
        with location.filesystem.open_input_file(location.path) as stream:
            lines = io.BytesIO(stream.read_at(partition.stop - partition.start, partition.start))
        for number, (_, _, fields) in enumerate(records(lines), partition.first_record):
            source = f"{partition.path} record {number}"
            if len(fields) != len(partition.header):
                failure = ParseFailure(
                    RejectReason.UNREADABLE,
                    f"{len(fields)} fields, the header has {len(partition.header)}",
                )
                yield Content(_hash(fields), source, failure)
                continue
            values = dict(zip(partition.header, fields, strict=True))
            text = values.pop(self.csv_columns.cif)
            row_id = printable(values.pop(self.csv_columns.id, "")).strip() or _hash([text])
            document = Document(text.encode("utf-8", "surrogateescape"), Format.CIF)
            yield Content(row_id, source, document, values)

    def _rows(self, partition: TablePartition) -> Rows:
        location = location_in(partition.root, partition.path)
        table = read_rows(
            location, partition.row_group, partition.start, partition.stop, self.csv_columns.id
        )
        sources = [
            f"{partition.path} row {partition.first_row + row}" for row in range(table.num_rows)
        ]
        id_column = id_column_of(table, self.csv_columns.id)
        ids = table.column(id_column).cast(pa.string()) if id_column else None
        if not is_optimade(table.schema):
            return Rows(with_ids(table, _hashes(table) if ids is None else ids), sources, [])
        entries = list(crystals_of(table))
        good = np.flatnonzero([isinstance(entry, ParsedCrystal) for entry in entries])
        crystals = [cast("ParsedCrystal", entries[row]) for row in good]
        names = _hashes(geometry(crystals, [""] * len(good), {})) if ids is None else ids.take(good)
        extra = table.select([n for n in self.columns.names if n in table.column_names])
        taken = {n: extra.column(n).take(good).combine_chunks() for n in extra.column_names}
        rejects = [
            entry.reject(
                (ids[row].as_py() if ids is not None else "") or "", sources[row], Stage.READ
            )
            for row, entry in enumerate(entries)
            if isinstance(entry, ParseFailure)
        ]
        table = with_ids(geometry(crystals, [""] * len(good), taken), names)
        return Rows(table, [sources[row] for row in good], rejects)


def _documents(contents: Iterable[Content], sent: list[Content]) -> Iterator[Document]:
    """Yield what there is to parse; every content is noted in `sent`, emptied."""
    for content in contents:
        document = content.document
        if isinstance(document, Document):
            sent.append(content._replace(document=document._replace(content=b"")))
            yield document
        else:
            sent.append(content)


def _files(partition: FilePartition) -> Iterator[Content]:
    """Yield the content of files, members of archives and entries; a file is opened once for a run."""
    around = partition.before, partition.after
    for (root, path), group in groupby(partition.items, key=lambda item: (item.root, item.path)):
        location, run = location_in(root, path), list(group)
        try:
            stream = cast("Any", location.filesystem.open_input_file(location.path))
        except OSError as error:
            yield from (Content(item.id, item.source, failure_of(error)) for item in run)
            continue
        with io.BufferedReader(stream, BUFFER_BYTES) if len(run) > 1 else stream as opened:
            for item in run:
                yield Content(item.id, item.source, _read(opened, item, *around))


def _read(stream: IO[bytes], item: Any, before: bytes, after: bytes) -> Document | ParseFailure:
    try:
        return Document(before + read_member_bytes(stream, item.span) + after, item.kind)
    except (ArchiveError, OSError) as error:
        return failure_of(error)


def _database(partition: DatabasePartition) -> Iterator[Content]:
    """Yield the addresses of the rows of a database, which a parser reads itself."""
    stem = id_of(partition.path)
    for row in partition.rows.to_pylist():
        document = Document(f"{row} {partition.path}".encode(), Format.ASE_ROW)
        yield Content(f"{stem}#{row}", f"{partition.path} row {row}", document)


def _hashes(table: pa.Table) -> pa.Array:
    """Return an id for each row that follows from its structure."""
    columns = (table.column(name).to_pylist() for name in GEOMETRY)
    return pa.array([_hash(map(str, row)) for row in zip(*columns, strict=True)], pa.string())


def _hash(texts: Iterable[str]) -> str:
    content = "\0".join(texts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()[:HASH_LENGTH]
