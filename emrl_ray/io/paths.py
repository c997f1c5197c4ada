"""Paths and URIs (s3://, gs://): file systems, listing, reading, deleting."""

from __future__ import annotations

import contextlib
import json
import os
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import fs

from emrl_ray.config.errors import UserError, one_line


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


def resolve(uri: str | os.PathLike[str]) -> Location:
    """Return the location that a local path or a URI such as ``s3://bucket/key`` names.

    Raises UserError, in one line, at a URI of no file system that is known.
    """
    text = os.fspath(uri)
    if "://" in text:
        try:
            return Location(*fs.FileSystem.from_uri(text))
        except pa.ArrowInvalid as error:
            raise UserError(f"{text}: {one_line(error)}") from None
    return Location(fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(text)))


def absolute_uri(uri: str) -> str:
    """Return a local path from the root on, as other processes work elsewhere, and a URI as it is.

    Neither ends in a slash, so that a name may follow.
    """
    if "://" not in uri:
        return resolve(uri).path
    return uri if "?" in uri else uri.rstrip("/")


def root_of(uri: str) -> str:
    """Return a URI of the file system that `uri` is in, empty for the local one."""
    if "://" not in uri:
        return ""
    path, question, query = uri.partition("?")
    scheme, _, rest = path.partition("://")
    return f"{scheme}://{rest.split('/')[0] or '/'}{question}{query}"


def location_in(root: str, path: str) -> Location:
    """Return the location of a path in the file system of which `root_of` gave the URI."""
    return Location(_filesystem(root), path)


@lru_cache(maxsize=64)
def _filesystem(root: str) -> fs.FileSystem:
    return resolve(root).filesystem


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


def read_json(source: Location) -> Any:
    """Return the content of a JSON file."""
    return json.loads(source.read_bytes())


def remove(location: Location) -> None:
    """Delete a file or a folder with all that is in it; nothing there, or nothing any more, is fine."""
    kind = location.info.type
    with contextlib.suppress(FileNotFoundError):  # another process may have moved or deleted it
        if kind == fs.FileType.Directory:
            location.filesystem.delete_dir(location.path)
        elif kind == fs.FileType.File:
            location.filesystem.delete_file(location.path)
