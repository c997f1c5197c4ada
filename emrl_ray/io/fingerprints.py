"""Short hashes that tell whether a table or a folder is still the one it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pyarrow as pa
from pyarrow import fs

from emrl_ray.config.errors import MissingFileError
from emrl_ray.io.concurrent import map_concurrently
from emrl_ray.io.parquet import table_files
from emrl_ray.io.paths import Location, resolve

FOOTER_GUESS = 64 * 1024
"""Bytes read from the end of a Parquet file at first; most footers are shorter."""


def table_fingerprint(uri: str) -> str:
    """Return a hash of a Parquet table that costs one short read a file.

    It covers the names, the sizes and the footers of the files: schema, row groups, and for every
    column chunk its place, its sizes and its least and greatest value. A change that leaves all
    of that as it was is not seen.
    """
    files = table_files(uri)
    ends = map_concurrently(_file_ends, files, files[0].filesystem)
    return _digest(part for pair in ends for part in pair)


def folder_fingerprint(uri: str) -> str:
    """Return a hash of the names and the contents of all files below a folder.

    Files and folders whose names begin with ``_`` or ``.`` are left out: they are work in progress.
    Raises MissingFileError, in one line, if there are none.
    """
    folder = resolve(uri)
    selector = fs.FileSelector(folder.path, recursive=True, allow_not_found=True)
    found = folder.filesystem.get_file_info(selector)
    names = [info.path[len(folder.path) :].strip("/") for info in found if info.is_file]
    names = sorted(name for name in names if not any(part[0] in "._" for part in name.split("/")))
    if not names:
        raise MissingFileError(f"{uri}: no such folder, or it is empty")
    return _digest(part for name in names for part in (name.encode(), _content(folder / name)))


def file_fingerprint(uri: str) -> str:
    """Return a hash of the content of a file."""
    return _digest([_content(resolve(uri))])


def _content(file: Location) -> bytes:
    digest = hashlib.sha256()
    with file.filesystem.open_input_stream(file.path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _file_ends(file: Location) -> tuple[bytes, bytes]:
    """Return (name and size, footer) of a Parquet file."""
    with file.filesystem.open_input_file(file.path) as stream:
        size = stream.size()
        tail = _last(stream, size, FOOTER_GUESS)
        footer = int.from_bytes(tail[-8:-4], "little") + 8
        if footer > len(tail):
            tail = _last(stream, size, footer)
    return f"{file.name} {size}".encode(), tail[-footer:]


def _last(stream: pa.NativeFile, size: int, length: int) -> bytes:
    stream.seek(max(0, size - length))
    return stream.read()


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:32]
