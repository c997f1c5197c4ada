"""Targets from a CSV file, and how they come to their crystals."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.config.errors import MissingFileError, UserError
from emrl_ray.crystals.matching.duplicate_ids import duplicated
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, Reject, RejectReason, Stage
from emrl_ray.crystals.units import annotated
from emrl_ray.io.arrow_buffer import CHUNK_ROWS, RowBuffer, iter_rows
from emrl_ray.io.paths import resolve
from emrl_ray.sources.files.formats.csv import FIELD_LIMIT, InferredType, as_number, converted

ID = "id"
BUFFER_BYTES = 1 << 20


class Targets(NamedTuple):
    """What a file of targets says of each id."""

    ids: pa.Array
    """(T,) ids, all different."""
    values: pa.Table
    """T rows: numbers, and what came along; unit and theory stand in the metadata of the fields."""


def read_targets(
    uri: str,
    names: Sequence[str] = (),
    unit: str | None = None,
    theory: str | None = None,
    id_column: str = ID,
) -> Targets:
    """Return the targets in a CSV file.

    With a column `id_column`, else `id`, in the first row, that row is the header; columns of numbers become targets,
    those of text or true/false come along, and those that every crystals table has are skipped.
    Otherwise, as in cgcnn's id_prop.csv, there is no header: the first column is the id and all
    others are numbers, named by `names`, else `target`, `target_2`, ... Empty values and NaN are null.
    `unit` and `theory` are those of all columns of numbers.

    Raises UserError or MissingFileError, in one line, for a file that is something else.
    """
    rows = _records(uri)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{uri}: the file of targets is empty")
    header = [field.strip() for field in first]
    id_name = next((name for name in (id_column, ID) if name in header), None)
    if id_name is not None:
        if names:
            raise UserError(f"--target-names: {uri} has a header, which names its columns")
        columns = _columns(header, rows, 2, uri)
    else:
        named = [ID, *_names(names, len(header) - 1, uri)]
        columns = _columns(named, chain([first], rows), 1, uri)
        _check_numbers(columns, uri)
    ids = columns.column(id_name or ID)
    _check_ids(ids, uri)
    arrays = {
        name: _as_array(columns.column(name))
        for name in columns.column_names
        if name and name != id_name and name not in CRYSTAL_SCHEMA.names
    }
    fields = [pa.field(name, array.type) for name, array in arrays.items()]
    schema = annotated(pa.schema(fields), unit, theory)
    if not any(pa.types.is_floating(field.type) for field in schema):
        raise UserError(f"{uri}: no column of numbers (it has {', '.join(header)})")
    return Targets(ids.combine_chunks(), pa.table(list(arrays.values()), schema=schema))


def join(
    table: pa.Table, targets: Targets, source_of: Callable[[str], str]
) -> tuple[pa.Table, list[Reject]]:
    """Return the rows of a crystals table that have a target, with their targets, and the others.

    A row with some of its targets stays. `source_of` tells where the crystal of an id came from.
    """
    ids = table.column(ID)
    index = pc.index_in(ids, value_set=targets.ids).combine_chunks()
    found = targets.values.take(index)
    known = np.zeros(table.num_rows, bool)
    for field in found.schema:
        if pa.types.is_floating(field.type):
            known |= np.asarray(found.column(field.name).is_valid())
    named = np.asarray(index.is_valid())
    rejects = [
        Reject(
            row_id := ids[int(row)].as_py(),
            source_of(row_id),
            Stage.VALIDATE,
            RejectReason.MISSING_TARGET,
            "its values are empty" if named[row] else "not in the file of targets",
        )
        for row in np.flatnonzero(~known)
    ]
    for field in found.schema:
        table = table.append_column(field, found.column(field.name))
    return (table.filter(pa.array(known)) if rejects else table), rejects


def reject_unlabelled(
    ids: pa.ChunkedArray, values: NDArray[np.float64], target: str, source: str
) -> list[Reject]:
    """Return a reject for each row whose target, of `values` (n,), is not finite."""
    return [
        Reject(
            ids[int(row)].as_py(),
            source,
            Stage.VALIDATE,
            RejectReason.MISSING_TARGET,
            f"{target} is {values[row]}",
        )
        for row in np.flatnonzero(~np.isfinite(values))
    ]


def _records(uri: str) -> Iterator[list[str]]:
    """Yield the rows of a CSV file that are not empty."""
    location = resolve(uri)
    if not location.is_file():
        raise MissingFileError(f"--targets {uri}: no such file")
    csv.field_size_limit(FIELD_LIMIT)
    try:
        with location.filesystem.open_input_file(location.path) as stream:
            buffered = io.BufferedReader(cast("Any", stream), BUFFER_BYTES)
            text = io.TextIOWrapper(buffered, "utf-8-sig", newline="")
            yield from filter(None, csv.reader(text))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{uri}: not a CSV file in UTF-8 ({error})") from None


def _names(names: Sequence[str], count: int, uri: str) -> list[str]:
    """Return the names of the columns of a file without a header."""
    if count < 1:
        raise UserError(
            f"{uri}: no values beside the ids, and no header with a column {ID!r} "
            "or another that --id-column names"
        )
    if not names:
        return ["target", *(f"target_{number}" for number in range(2, count + 1))]
    if len(names) != count or len({ID, *names}) != count + 1:
        raise UserError(
            f"--target-names {' '.join(names)}: give {count} different names for {count} columns of {uri}"
        )
    return list(names)


def _columns(names: Sequence[str], rows: Iterable[Sequence[str]], first: int, uri: str) -> pa.Table:
    """Return the texts of each column by its name; `first` is the number of the first row."""
    if len(set(names)) != len(names):
        raise UserError(f"{uri}: two columns have the same name ({', '.join(names)})")
    packer = RowBuffer(pa.schema([pa.field(name, pa.string()) for name in names]))
    for number, row in enumerate(rows, first):
        if len(row) != len(names):
            raise UserError(f"{uri}: row {number} has {len(row)} fields, not {len(names)}")
        packer.append([field.strip() for field in row])
    return packer.table()


def _check_numbers(columns: pa.Table, uri: str) -> None:
    for name in columns.column_names[1:]:
        for number, text in enumerate(_texts(columns.column(name)), 1):
            if text and as_number(text) is None:
                raise UserError(
                    f"{uri}: row {number}: {text!r} is no number (and a header needs "
                    f"a column {ID!r}, or another that --id-column names)"
                )


def _check_ids(ids: pa.ChunkedArray, uri: str) -> None:
    empty = pc.index(ids, "").as_py()
    if empty >= 0:
        raise UserError(f"{uri}: entry {empty + 1} has no id")
    (again,) = duplicated([ids.combine_chunks()])
    if again.any():
        second = int(np.argmax(again))
        row_id = ids[second].as_py()
        raise UserError(
            f"{uri}: {row_id!r} has targets twice, entries {pc.index(ids, row_id).as_py() + 1} "
            f"and {second + 1}"
        )


def _as_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column of texts as what all of them are: numbers, truth values or texts."""
    kind = InferredType()
    for text in _texts(column):
        kind.add(text)
    found = pa.float64() if pa.types.is_null(kind.type) else kind.type
    texts = _texts(column)
    parts = [pa.array([], found)]
    while part := list(islice(texts, CHUNK_ROWS)):
        parts.append(converted(part, found))
    return pa.concat_arrays(parts)


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    """Yield the texts of a column; few of them are Python objects at a time."""
    for (text,) in iter_rows(pa.table([column], names=["text"])):
        yield text
