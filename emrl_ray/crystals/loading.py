"""From a slice of files, records or rows to a crystals table, and a reject for all that is none."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.crystals.archives import read_span
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.crystal import Crystal, Flaw, ReadError, as_batch, flaw_of
from emrl_ray.crystals.csv_files import converted, printable, records
from emrl_ray.crystals.elements import reduced_formula
from emrl_ray.crystals.parser_pool import Document, ParserPool
from emrl_ray.crystals.plan import CsvColumns, Item, RecordSlice, Slice, TableSlice
from emrl_ray.crystals.readers import Format
from emrl_ray.crystals.storage import within
from emrl_ray.crystals.tables import Reject, RejectReason, Stage, crystals_table
from emrl_ray.crystals.validation import Limits, validate

BUFFER_BYTES = 1 << 18
HASH_LENGTH = 16
"""Hexadecimal digits of an id that is a hash of the content."""


class Loaded(NamedTuple):
    """What a slice holds."""

    crystals: pa.Table
    """Crystals table of the valid crystals, with the further columns of the plan."""
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
    document: Document | Flaw | None
    """None once it has been handed to the parsers."""
    fields: Mapping[str, str] = MappingProxyType({})
    """Values of the further columns."""


class Loader:
    """Loads slices, with a pool of parsers that it shares among them."""

    def __init__(
        self, columns: pa.Schema, limits: Limits, pool: ParserPool, csv_columns: CsvColumns
    ) -> None:
        """Make a loader for the slices of one plan; `columns` are those of the plan."""
        self.columns = columns
        self.limits = limits
        self.pool = pool
        self.csv_columns = csv_columns

    def __call__(self, piece: Slice) -> Loaded:
        """Return what a slice holds."""
        if isinstance(piece, TableSlice):
            table, sources, rejects = self._rows(piece)
        elif isinstance(piece, RecordSlice):
            table, sources, rejects = self._parsed(self._records(piece))
        else:
            table, sources, rejects = self._parsed(_files(piece.items))
        good, invalid = validate(table, self.limits, sources)
        return Loaded(
            _as_crystals(good, self.columns),
            dict(zip(table.column("id").to_pylist(), sources, strict=True)),
            rejects + invalid,
            table.num_rows + len(rejects),
        )

    def _parsed(self, contents: Iterable[Content]) -> tuple[pa.Table, list[str], list[Reject]]:
        """Return the crystals of contents as a table, the source of each, and the rejects."""
        sent: list[Content] = []
        results = iter([*self.pool.read(_documents(contents, sent))])
        crystals: list[Crystal] = []
        ids: list[str] = []
        origins: list[Content] = []
        rejects: list[Reject] = []
        for content in sent:
            entries = [content.document] if isinstance(content.document, Flaw) else next(results)
            for number, entry in enumerate(entries, 1):
                row_id = content.id if len(entries) == 1 else f"{content.id}#{number}"
                if isinstance(entry, Flaw):
                    rejects.append(Reject(row_id, content.source, Stage.READ, *entry))
                else:
                    crystals.append(entry)
                    ids.append(entry.id or row_id)
                    origins.append(content)
        table = _tabulated(crystals, ids, origins, self.columns)
        return table, [origin.source for origin in origins], rejects

    def _records(self, piece: RecordSlice) -> Iterator[Content]:
        place = within(piece.root, piece.path)
        with place.filesystem.open_input_file(place.path) as stream:
            lines = io.BytesIO(stream.read_at(piece.stop - piece.start, piece.start))
        for number, (_, _, fields) in enumerate(records(lines), piece.first_record):
            source = f"{piece.path} record {number}"
            if len(fields) != len(piece.header):
                flaw = Flaw(
                    RejectReason.UNREADABLE,
                    f"{len(fields)} fields, the header has {len(piece.header)}",
                )
                yield Content(_hash(fields), source, flaw)
                continue
            values = dict(zip(piece.header, fields, strict=True))
            text = values.pop(self.csv_columns.cif)
            row_id = printable(values.pop(self.csv_columns.id, "")).strip() or _hash([text])
            document = Document(text.encode("utf-8", "surrogateescape"), Format.CIF)
            yield Content(row_id, source, document, values)

    def _rows(self, piece: TableSlice) -> tuple[pa.Table, list[str], list[Reject]]:
        place = within(piece.root, piece.path)
        with pq.ParquetFile(place.path, filesystem=place.filesystem) as parquet:
            group = parquet.read_row_group(piece.row_group)
        table = group.slice(piece.start, piece.stop - piece.start)
        if self.csv_columns.id in table.column_names:
            ids = table.column(self.csv_columns.id).cast(pa.string())
        else:
            names = ("lattice", "atomic_numbers", "frac_coords")
            columns = (table.column(name).to_pylist() for name in names)
            ids = pa.array(
                [_hash(map(str, row)) for row in zip(*columns, strict=True)], pa.string()
            )
        others = table.drop_columns(["id"]) if "id" in table.column_names else table
        sources = [f"{piece.path} row {piece.first_row + row}" for row in range(table.num_rows)]
        return others.append_column("id", ids), sources, []


def _documents(contents: Iterable[Content], sent: list[Content]) -> Iterator[Document]:
    """Yield what there is to parse; every content is noted in `sent`, without its document."""
    for content in contents:
        if isinstance(content.document, Document):
            sent.append(Content(content.id, content.source, None, content.fields))
            yield content.document
        else:
            sent.append(content)


def _files(items: Iterable[Item]) -> Iterator[Content]:
    """Yield the content of files and members of archives; an archive is opened once."""
    for (root, path), group in groupby(items, key=lambda item: (item.root, item.path)):
        place, run = within(root, path), list(group)
        try:
            stream = cast("Any", place.filesystem.open_input_file(place.path))
        except OSError as error:
            yield from (Content(item.id, item.source, flaw_of(error)) for item in run)
            continue
        with io.BufferedReader(stream, BUFFER_BYTES) if len(run) > 1 else stream as opened:
            for item in run:
                yield Content(item.id, item.source, _read(opened, item))


def _read(stream: IO[bytes], item: Item) -> Document | Flaw:
    try:
        return Document(read_span(stream, item.span), item.kind)
    except (ReadError, OSError) as error:
        return flaw_of(error)


def _tabulated(
    crystals: Sequence[Crystal],
    ids: Sequence[str],
    origins: Sequence[Content],
    columns: pa.Schema,
) -> pa.Table:
    """Return crystals as a table, their further columns from the texts of their origins."""
    further = {
        field.name: converted([origin.fields.get(field.name, "") for origin in origins], field.type)
        for field in columns
        if any(field.name in origin.fields for origin in origins)
    }
    return crystals_table(as_batch(crystals), ids, [""] * len(ids), further)


def _as_crystals(table: pa.Table, columns: pa.Schema) -> pa.Table:
    """Return valid rows with the types of a crystals table, a formula each, and all `columns`."""
    batch = CrystalBatch.from_arrow(table)
    formulas = (
        table.column("formula").to_pylist()
        if "formula" in table.column_names
        else [None] * table.num_rows
    )
    atoms = zip(batch.offsets[:-1], batch.offsets[1:], formulas, strict=True)
    further = {
        field.name: table.column(field.name).combine_chunks().cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in columns
    }
    return crystals_table(
        batch,
        table.column("id").to_pylist(),
        [formula or reduced_formula(batch.atomic_numbers[i:j]) for i, j, formula in atoms],
        further,
        {field.name: field for field in columns},
    )


def _hash(texts: Iterable[str]) -> str:
    content = "\0".join(texts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()[:HASH_LENGTH]
