"""Files that are there whole or not at all: written under another name, then moved in place."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import uuid
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv as pcsv
from pyarrow import fs
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from emrl_ray.io.paths import Location, names_in, remove

COPY_BYTES = 1 << 20
ATTEMPTS = 6
"""Tries at a write before its error counts; the pauses between them add up to some 3 s."""
LASTING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
}
"""Errors of storage that the next moment does not cure."""
TEMPORARY_NAME = r"\..+\.[0-9a-f]{8}"
"""Pattern of the names that files have while they are written."""


def temporaries(folder: Location, suffix: str = "") -> list[Location]:
    """Return the temporary files directly in `folder` of files whose names end in `suffix`."""
    return [
        folder / name
        for name in names_in(folder)
        if re.fullmatch(TEMPORARY_NAME, name) and name.rpartition(".")[0].endswith(suffix)
    ]


def _may_pass(error: BaseException) -> bool:
    """Return whether an error of storage may be gone at the next try."""
    return isinstance(error, OSError) and error.errno not in LASTING


_retried = retry(
    retry=retry_if_exception(_may_pass),
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_exponential(multiplier=0.1, max=2.0) + wait_random(0, 0.1),
    reraise=True,
)


def write_csv(table: pa.Table, target: Location) -> None:
    """Write a table as CSV, a list or struct as JSON text, aside and then moved in place."""
    for index, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [
                None if value is None else json.dumps(value, default=str)
                for value in table.column(index).to_pylist()
            ]
            table = table.set_column(index, field.name, pa.array(texts, pa.string()))
    content = pa.BufferOutputStream()
    pcsv.write_csv(table, content)
    write_bytes(content.getvalue(), target)


@contextlib.contextmanager
def csv_writer(target: Location, schema: pa.Schema) -> Iterator[pcsv.CSVWriter]:
    """Context: a CSV file that is written table by table, aside, and moved in place at its end."""
    with (
        AtomicWrite(target) as aside,
        aside.filesystem.open_output_stream(aside.path) as stream,
        pcsv.CSVWriter(stream, schema) as writer,
    ):
        yield writer


@_retried
def write_bytes(content: bytes | pa.Buffer, target: Location) -> None:
    """Write a file, in one write, under another name, then move it in place.

    A write or move that fails is tried again, unless its error is one that lasts (a full disk).
    """
    with AtomicWrite(target) as aside, aside.filesystem.open_output_stream(aside.path) as stream:
        stream.write(content)


def write_stream(content: IO[bytes], target: Location) -> None:
    """Write what a stream gives under another name, then move it in place."""
    with AtomicWrite(target) as aside, aside.filesystem.open_output_stream(aside.path) as stream:
        while block := content.read(COPY_BYTES):
            stream.write(block)


def write_json(content: Any, target: Location) -> None:
    """Write JSON (sorted as given, indented) under another name, then move it in place."""
    write_bytes((json.dumps(content, indent=2, default=str) + "\n").encode(), target)


def temporary_beside(target: Location) -> Location:
    """Return a neighbour of `target` that no other writer has, with a name of pattern `TEMPORARY_NAME`."""
    parent, name = target.path.rsplit("/", 1)
    return Location(target.filesystem, f"{parent}/.{name}.{uuid.uuid4().hex[:8]}")


class AtomicWrite:
    """Context: a neighbour of `target` to write to, moved to `target` on success, else removed."""

    def __init__(self, target: Location) -> None:
        self.target, self.aside = target, temporary_beside(target)

    def __enter__(self) -> Location:
        if isinstance(self.target.filesystem, fs.LocalFileSystem):  # an object store needs none
            self.target.filesystem.create_dir(self.target.path.rsplit("/", 1)[0], recursive=True)
        return self.aside

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        moved = False
        try:
            if kind is None:
                self.aside.filesystem.move(self.aside.path, self.target.path)
                moved = True
        finally:
            if not moved:
                with contextlib.suppress(OSError):  # what stays is no output: a job's end sweeps it
                    remove(self.aside)
