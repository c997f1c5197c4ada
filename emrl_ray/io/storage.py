"""Files and folders, local or in an object store (s3://, gs://): read, list, write in one step."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import uuid
from collections.abc import Iterator
from functools import lru_cache
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from pyarrow import fs
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from emrl_ray.config.errors import one_line

COPY_BYTES = 1 << 20
ROW_GROUP_ROWS = 8192
"""Largest row group that we write."""
MAKE_TABLE = "`ingest` makes a table of CIFs and other files of crystals"
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
ASIDE_NAME = r"\..+\.[0-9a-f]{8}"
"""Pattern of the names that files have while they are written."""


class Location(NamedTuple):
    """A path within a file system."""

    filesystem: fs.FileSystem
    path: str

    def __truediv__(self, name: str) -> Location:
        """Return the location of `name` within this folder."""
        return Location(self.filesystem, f"{self.path.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def info(self) -> fs.FileInfo:
        """What the file system says of this path."""
        return self.filesystem.get_file_info(self.path)

    def exists(self) -> bool:
        """Return whether a file or folder is there."""
        return self.info.type != fs.FileType.NotFound

    def is_file(self) -> bool:
        """Return whether a file is there."""
        return self.info.type == fs.FileType.File

    def read_bytes(self) -> bytes:
        """Return the content of the file."""
        with self.filesystem.open_input_stream(self.path) as stream:
            return stream.read()


def locate(uri: str | os.PathLike[str]) -> Location:
    """Return the location that a local path or a URI such as ``s3://bucket/key`` names.

    Raises ValueError, in one line, at a URI of no file system that is known.
    """
    text = os.fspath(uri)
    if "://" in text:
        try:
            return Location(*fs.FileSystem.from_uri(text))
        except pa.ArrowInvalid as error:
            raise ValueError(f"{text}: {one_line(error)}") from None
    return Location(fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(text)))


def absolute(uri: str) -> str:
    """Return a local path from the root on, as other processes work elsewhere, and a URI as it is.

    Neither ends in a slash, so that a name may follow.
    """
    if "://" not in uri:
        return locate(uri).path
    return uri if "?" in uri else uri.rstrip("/")


def root_of(uri: str) -> str:
    """Return a URI of the file system that `uri` is in, empty for the local one."""
    if "://" not in uri:
        return ""
    path, question, query = uri.partition("?")
    scheme, _, rest = path.partition("://")
    return f"{scheme}://{rest.split('/')[0] or '/'}{question}{query}"


def within(root: str, path: str) -> Location:
    """Return the location of a path in the file system of which `root_of` gave the URI."""
    return Location(_filesystem(root), path)


@lru_cache(maxsize=64)
def _filesystem(root: str) -> fs.FileSystem:
    return locate(root).filesystem


def names_in(folder: Location) -> set[str]:
    """Return the names of the files and folders directly in `folder`; none if it does not exist."""
    selector = fs.FileSelector(folder.path, allow_not_found=True)
    return {info.base_name for info in folder.filesystem.get_file_info(selector)}


def list_files(folder: Location, suffix: str = "") -> list[Location]:
    """Return the files directly in `folder` whose names end in `suffix`, sorted by name.

    Names that begin with ``_`` or ``.`` are left out, as every Parquet reader does. A folder that
    does not exist has no files.
    """
    selector = fs.FileSelector(folder.path, allow_not_found=True)
    names = [
        info.base_name
        for info in folder.filesystem.get_file_info(selector)
        if info.is_file and info.base_name.endswith(suffix) and info.base_name[0] not in "._"
    ]
    return [folder / name for name in sorted(names)]


def leftovers(folder: Location, suffix: str = "") -> list[Location]:
    """Return the temporary files directly in `folder` of files whose names end in `suffix`."""
    return [
        folder / name
        for name in names_in(folder)
        if re.fullmatch(ASIDE_NAME, name) and name.rpartition(".")[0].endswith(suffix)
    ]


def table_files(uri: str | os.PathLike[str]) -> list[Location]:
    """Return the Parquet files of a table: the file itself, or those of the folder.

    Raises FileNotFoundError, in one line, if there are none.
    """
    if not os.fspath(uri):
        raise FileNotFoundError("the path of a table is empty (. is the current folder)")
    place = locate(uri)
    files = [place] if place.is_file() else list_files(place, ".parquet")
    if not files:
        hint = f"; {MAKE_TABLE}" if place.exists() else ""
        raise FileNotFoundError(f"{uri}: no such Parquet file, nor a folder that holds any{hint}")
    return files


def read_footer(file: Location) -> pq.FileMetaData:
    """Return what the end of a Parquet file tells; ValueError, in one line, if it is none."""
    try:
        return pq.read_metadata(file.path, filesystem=file.filesystem)
    except pa.ArrowInvalid as error:
        hint = "" if file.name.endswith(".parquet") else f"; {MAKE_TABLE}"
        why = one_line(error)
        raise ValueError(f"{file.path}: not a Parquet file ({why}){hint}") from None


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


def _may_pass(error: BaseException) -> bool:
    """Return whether an error of storage may be gone at the next try."""
    return isinstance(error, OSError) and error.errno not in LASTING


_repeated = retry(
    retry=retry_if_exception(_may_pass),
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_exponential(multiplier=0.1, max=2.0) + wait_random(0, 0.1),
    reraise=True,
)


def write_parquet(table: pa.Table, target: Location) -> None:
    """Write a table under another name, then move it in place: readers see all of it or nothing."""
    content = pa.BufferOutputStream()
    pq.write_table(table, content, compression="zstd", row_group_size=ROW_GROUP_ROWS)
    write_bytes(content.getvalue(), target)


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
def parquet_writer(target: Location, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Context: a Parquet file that is written table by table, aside, and moved in place at its end."""
    with (
        _Aside(target) as aside,
        pq.ParquetWriter(
            aside.path, schema, filesystem=aside.filesystem, compression="zstd"
        ) as writer,
    ):
        yield writer


@contextlib.contextmanager
def csv_writer(target: Location, schema: pa.Schema) -> Iterator[pcsv.CSVWriter]:
    """Context: a CSV file that is written table by table, aside, and moved in place at its end."""
    with (
        _Aside(target) as aside,
        aside.filesystem.open_output_stream(aside.path) as stream,
        pcsv.CSVWriter(stream, schema) as writer,
    ):
        yield writer


@_repeated
def write_bytes(content: bytes | pa.Buffer, target: Location) -> None:
    """Write a file, in one write, under another name, then move it in place.

    A write or move that fails is tried again, unless its error is one that lasts (a full disk).
    """
    with _Aside(target) as aside, aside.filesystem.open_output_stream(aside.path) as stream:
        stream.write(content)


def write_stream(content: IO[bytes], target: Location) -> None:
    """Write what a stream gives under another name, then move it in place."""
    with _Aside(target) as aside, aside.filesystem.open_output_stream(aside.path) as stream:
        while block := content.read(COPY_BYTES):
            stream.write(block)


def write_json(content: Any, target: Location) -> None:
    """Write JSON (sorted as given, indented) under another name, then move it in place."""
    write_bytes((json.dumps(content, indent=2, default=str) + "\n").encode(), target)


def read_json(source: Location) -> Any:
    """Return the content of a JSON file."""
    return json.loads(source.read_bytes())


def remove(place: Location) -> None:
    """Delete a file or a folder with all that is in it; nothing there, or nothing any more, is fine."""
    kind = place.info.type
    with contextlib.suppress(FileNotFoundError):  # another process may have moved or deleted it
        if kind == fs.FileType.Directory:
            place.filesystem.delete_dir(place.path)
        elif kind == fs.FileType.File:
            place.filesystem.delete_file(place.path)


def aside_of(target: Location) -> Location:
    """Return a neighbour of `target` that no other writer has, with a name of pattern `ASIDE_NAME`."""
    parent, name = target.path.rsplit("/", 1)
    return Location(target.filesystem, f"{parent}/.{name}.{uuid.uuid4().hex[:8]}")


class _Aside:
    """Context: a neighbour of `target` to write to, moved to `target` on success, else removed."""

    def __init__(self, target: Location) -> None:
        self.target, self.aside = target, aside_of(target)

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
