"""Where crystals come from: the files that sources name, in order.

A source is a file, a folder (with all below it), a glob (`*`, `[...]`, `**`, and `?` where it begins no
query of a URI) or an archive, local or in an object store; `names` tells what a file holds. Folders, archives
and globs are also full of other files: those are skipped, counted and some of them named. So are CSV files
and databases, which are sources only where they are named or met by a glob that ends as they do (targets
lie beside CIFs), and what begins with `.` or lies in a folder that begins with `_` or `.`. A JSON file that is
named is read in parts, so that it may be a table of any size.

Names are kept as columns of Arrow, and local folders are listed one at a time: a million files are
never a million objects.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from emrl_ray.config import UserError
from emrl_ray.config.errors import MissingFileError
from emrl_ray.crystals.matching.duplicate_ids import duplicated
from emrl_ray.io.arrow_buffer import RowBuffer, iter_rows
from emrl_ray.io.paths import Location, location_in, resolve, root_of
from emrl_ray.io.text import printable
from emrl_ray.sources.files.file_types import (
    CHOICES,
    KINDS,
    ONLY_IF_NAMED,
    Container,
    is_hidden,
    kind_of,
)
from emrl_ray.sources.files.formats.registry import Format

PATHS_KEPT = 5
"""Files without crystals that are named."""

FILE_SCHEMA = pa.schema(
    [
        pa.field("root", pa.dictionary(pa.int32(), pa.string())),
        pa.field("path", pa.string()),
        pa.field("kind", pa.dictionary(pa.int32(), pa.string())),
        pa.field("size", pa.int64()),
        pa.field("changed", pa.int64()),
    ]
)
"""The columns of a listing: those of a `SourceFile`."""


class SourceFile(NamedTuple):
    """A file that holds crystals."""

    root: str
    """The source that named it, whose file system it is in."""
    path: str
    kind: Format | Container
    size: int
    """Bytes; 0 if the file cannot be looked at."""
    changed: int
    """Time of the last change, ns."""

    @property
    def location(self) -> Location:
        """Where it lies."""
        return location_in(self.root, self.path)


class SkippedFiles:
    """Files that hold no crystals by their names: how many, and the paths of the first few."""

    def __init__(self) -> None:
        self.count = 0
        self.paths: list[str] = []

    def add(self, path: str) -> None:
        """Note one more."""
        self.count += 1
        if len(self.paths) < PATHS_KEPT:
            self.paths.append(path)

    def __add__(self, other: SkippedFiles) -> SkippedFiles:
        """Return both together."""
        both = SkippedFiles()
        both.count = self.count + other.count
        both.paths = [*self.paths, *other.paths][:PATHS_KEPT]
        return both


class Listing(NamedTuple):
    """The files that sources name, in order."""

    table: pa.Table
    """A row a file, with `FILE_SCHEMA`."""
    passed_over: SkippedFiles

    @property
    def files(self) -> Iterator[SourceFile]:
        """The files, one by one."""
        for root, path, kind, size, changed in iter_rows(self.table):
            yield SourceFile(root, path, KINDS[kind], size, changed)

    def holds(self, path: str) -> bool:
        """Return whether a file at `path` is among them."""
        return bool(pc.any(pc.equal(self.table.column("path"), path)).as_py())

    @property
    def fingerprint(self) -> str:
        """A hash of what would be read: names, sizes and times of change."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(repr(file[1:]).encode())
        return digest.hexdigest()[:32]


def list_sources(sources: Sequence[str], leave_out: Iterable[str] = ()) -> Listing:
    """Return the files that `sources` name, in their order and by path within each.

    Files at or below the paths or URIs `leave_out` are none. Raises MissingFileError or UserError, in
    one line, for a source that is empty, does not exist, names nothing, or is a file of another kind.
    """
    left_out = [resolve(uri).path.rstrip("/") for uri in leave_out]
    return joined([_list_source(source, left_out) for source in sources])


def joined(listings: Sequence[Listing]) -> Listing:
    """Return several listings as one, in their order; a file that several hold is there once."""
    tables = [FILE_SCHEMA.empty_table(), *(listing.table for listing in listings)]
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    passed_over = sum((listing.passed_over for listing in listings), SkippedFiles())
    return Listing(_distinct(table) if len(listings) > 1 else table, passed_over)


def _list_source(source: str, left_out: Sequence[str]) -> Listing:
    """Return the files that one source names, without those at or below the paths `left_out`."""
    if not source:
        raise UserError("the source is empty: give a path (. is the current folder)")
    if printable(source) != source:
        raise UserError(f"{printable(source)}: its name is no UTF-8, rename it")
    rows, passed_over = RowBuffer(FILE_SCHEMA), SkippedFiles()
    root, alone = root_of(source), not is_glob(source)
    for info, named in _infos(source, passed_over):
        if any(info.path == path or info.path.startswith(path + "/") for path in left_out):
            continue
        kind = kind_of(info.path)
        if kind is None or (kind in ONLY_IF_NAMED and not named):
            if named and alone:
                raise UserError(f"{source}: not a file of crystals (see {CHOICES})")
            passed_over.add(info.path)
            continue
        if kind is Format.JSON and named and alone:
            kind = Container.JSON
        rows.append((root, info.path, kind.value, info.size or 0, info.mtime_ns or 0))
    if not len(rows):
        raise MissingFileError(f"{source}: no files of crystals there (see {CHOICES})")
    return Listing(rows.table(), passed_over)


def is_glob(source: str) -> bool:
    """Return whether a source is a pattern; a file whose very name has `*` or `[` is none."""
    if "://" in source:
        return glob.has_magic(source.partition("?")[0])
    return glob.has_magic(source) and not resolve(source).exists()


def _distinct(table: pa.Table) -> pa.Table:
    """Return a listing without the files that were named before."""
    (again,) = duplicated([file_keys(table)])
    return table.filter(pa.array(~again)) if again.any() else table


def file_keys(table: pa.Table) -> pa.Array:
    """Return what tells the files of a listing apart: the kind of store, and the path in it."""
    roots = table.column("root").unify_dictionaries().combine_chunks()
    systems = pa.array(
        [location_in(root, "").filesystem.type_name for root in roots.dictionary.to_pylist()],
        pa.string(),
    )
    paths = table.column("path").combine_chunks()
    return pc.binary_join_element_wise(systems.take(roots.indices), paths, "\n")


def _infos(source: str, passed_over: SkippedFiles) -> Iterator[tuple[fs.FileInfo, bool]]:
    """Yield the files that a source names and whether it names them as what they are."""
    if is_glob(source):
        yield from _matches(source, passed_over)
        return
    location = resolve(source)
    info = location.info
    if info.type == fs.FileType.NotFound:
        raise MissingFileError(f"{source}: no such file or folder")
    if info.type == fs.FileType.Directory:
        for below in _below(location, passed_over):
            yield below, False
    else:
        yield info, True


def _matches(pattern: str, passed_over: SkippedFiles) -> Iterator[tuple[fs.FileInfo, bool]]:
    """Yield the files that a glob matches, and those below the folders that it matches."""
    query = ""
    if "://" in pattern:
        pattern, question, query = pattern.partition("?")
        query = question + query
    start = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    folder = resolve((start[: start.rfind("/") + 1] or "./") + query)
    if not folder.exists():
        raise MissingFileError(f"{pattern}: there is no folder {folder.path}")
    rest = pattern[start.rfind("/") + 1 :]
    expression = re.compile(glob_expression(rest) + "(/.*)?", re.DOTALL)
    of_kind = kind_of(rest.replace("*", "x")) in ONLY_IF_NAMED
    for info in _below(folder, passed_over):
        match = expression.fullmatch(info.path[len(folder.path.rstrip("/")) + 1 :])
        if match:
            yield info, of_kind and not match.groups()[-1]


def glob_expression(pattern: str) -> str:
    """Return the regular expression of a glob; `**` stands for any folders, `*` for no `/`."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", pattern, re.DOTALL)
    return "".join(
        parts.get(token)
        or (token.replace("[!", "[^") if token[0] == "[" and len(token) > 1 else re.escape(token))
        for token in tokens
    )


def _below(folder: Location, passed_over: SkippedFiles) -> Iterator[fs.FileInfo]:
    """Yield the files below a folder that are not hidden, by path."""
    if isinstance(folder.filesystem, fs.LocalFileSystem):
        yield from _walk(folder, passed_over)
        return
    infos = folder.filesystem.get_file_info(fs.FileSelector(folder.path, recursive=True))
    cut = len(folder.path.rstrip("/")) + 1
    for info in sorted(infos, key=lambda info: info.path):
        if info.is_file and not is_hidden(info.path[cut:]):
            yield info


def _walk(folder: Location, passed_over: SkippedFiles) -> Iterator[fs.FileInfo]:
    """Yield the files below a local folder, one folder's names at a time, by path.

    A folder stands where the paths of its files do: as if its name ended in `/`. What has a name that
    is no UTF-8, which no text of Arrow's can hold, is skipped.
    """
    infos = folder.filesystem.get_file_info(fs.FileSelector(folder.path))
    if not all(map(_has_text_name, infos)):
        for path in sorted(map(str, Path(folder.path).iterdir())):
            if printable(path) != path:
                passed_over.add(printable(path))
        infos = [*filter(_has_text_name, infos)]
    for info in sorted(infos, key=lambda info: info.base_name + "/" * (not info.is_file)):
        if info.type == fs.FileType.Directory and info.base_name[0] not in "._":
            yield from _walk(folder / info.base_name, passed_over)
        elif info.is_file and info.base_name[0] != ".":
            yield info


def _has_text_name(info: fs.FileInfo) -> bool:
    try:
        return bool(info.base_name)
    except UnicodeDecodeError:
        return False
