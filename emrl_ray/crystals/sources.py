"""Where crystals come from: the files that sources name, and the slices in which they are read.

A source is a file, a folder (with all below it), a glob (`*`, `[...]`, `**`, and `?` where it begins no
query of a URI) or an archive, local or in an object store. What a file holds is told by its name:

| name | holds | id of its crystal |
|---|---|---|
| `*.cif` | CIF | stem |
| `*.xyz`, `*.extxyz` | extended XYZ | `id` of the frame, else stem |
| `*.json` | pymatgen structures | key of a mapping, else stem |
| `*.vasp`, `*.poscar`, `POSCAR*`, `CONTCAR*` | POSCAR | stem; folder if it is just POSCAR or CONTCAR |
| `*.csv` | a CIF a row, and further columns | the id column, else a hash of the CIF |
| `*.parquet` | a crystals table | the id column, else a hash of the row |
| `*.tar`, `*.tar.gz`, `*.zip`, ... | an archive of all of these but CSV, Parquet and archives | |

The k-th of several crystals of a file has `#k` after the stem. Folders, archives and globs are also full of
other files: those are passed over, counted and named. So is a CSV, which is a source only where it is
named or met by a glob that ends in `.csv` (targets lie beside CIFs), and what begins with `.` or lies
in a folder that begins with `_` or `.`.
"""

from __future__ import annotations

import glob
import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from pyarrow import fs

from emrl_ray.crystals.archives import is_archive
from emrl_ray.crystals.readers import Format
from emrl_ray.crystals.storage import Location, locate, root_of, within

POSCAR_NAME = re.compile(r"(POSCAR|CONTCAR)(?:[._-](.+))?", re.IGNORECASE)
ENDINGS = {
    ".cif": Format.CIF,
    ".xyz": Format.EXTXYZ,
    ".extxyz": Format.EXTXYZ,
    ".json": Format.JSON,
    ".vasp": Format.POSCAR,
    ".poscar": Format.POSCAR,
}
NOT_CRYSTALS = ("atom_init.json",)
"""The table of elements that lies beside cgcnn's CIFs."""


class Container(StrEnum):
    """A file of many crystals that is read in parts."""

    CSV = "csv"
    PARQUET = "parquet"
    ARCHIVE = "archive"


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
    def place(self) -> Location:
        """Where it lies."""
        return within(self.root, self.path)


class Listing(NamedTuple):
    """The files that sources name, in order."""

    files: list[SourceFile]
    passed_over: list[str]
    """Paths of files that hold no crystals, by their names."""

    @property
    def fingerprint(self) -> str:
        """A hash of what would be read: names, sizes and times of change."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(repr(file[1:]).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:32]


def list_sources(sources: Iterable[str], leave_out: Iterable[str] = ()) -> Listing:
    """Return the files that `sources` name, in their order and by path within each.

    Files at or below the paths or URIs `leave_out` are none. Raises FileNotFoundError or ValueError, in
    one line, for a source that does not exist, names nothing, or is a file of another kind.
    """
    left_out = [locate(uri).path.rstrip("/") for uri in leave_out]
    files: dict[tuple[str, str], SourceFile] = {}
    passed_over: list[str] = []
    for source in sources:
        root = root_of(source)
        system = within(root, "").filesystem.type_name
        found = 0
        for info, named in _infos(source):
            if any(info.path == path or info.path.startswith(path + "/") for path in left_out):
                continue
            kind = kind_of(info.path)
            if kind is None or (kind is Container.CSV and not named):
                if named and not is_glob(source):
                    raise ValueError(f"{source}: not a file of crystals (see {_choices()})")
                passed_over.append(info.path)
                continue
            found += 1
            size = info.size or 0
            file = SourceFile(root, info.path, kind, size, info.mtime_ns or 0)
            files.setdefault((system, info.path), file)
        if not found:
            raise FileNotFoundError(f"{source}: no files of crystals there (see {_choices()})")
    return Listing(list(files.values()), passed_over)


def kind_of(path: str) -> Format | Container | None:
    """Return what a file holds, by its name; None for no crystals."""
    name = path.rsplit("/", 1)[-1].lower()
    if is_archive(name):
        return Container.ARCHIVE
    ending = posixpath.splitext(name)[1]
    if ending in (".csv", ".parquet"):
        return Container(ending[1:])
    if name in NOT_CRYSTALS:
        return None
    if ending in ENDINGS:
        return ENDINGS[ending]
    return Format.POSCAR if POSCAR_NAME.fullmatch(name) and ending != ".gz" else None


def id_of(path: str) -> str:
    """Return the id of the crystal in a file, from its path."""
    folder, name = posixpath.split(path)
    stem, ending = posixpath.splitext(name)
    if ending.lower() in ENDINGS:
        return posixpath.basename(folder) if stem.upper() in ("POSCAR", "CONTCAR") else stem
    match = POSCAR_NAME.fullmatch(name)
    if match is None:
        return stem
    return match[2] or posixpath.basename(folder) or match[1]


def is_glob(source: str) -> bool:
    """Return whether a source is a pattern; a file whose very name has `*` or `[` is none."""
    if "://" in source:
        return glob.has_magic(source.partition("?")[0])
    return glob.has_magic(source) and not locate(source).exists()


def _infos(source: str) -> Iterator[tuple[fs.FileInfo, bool]]:
    """Yield the files that a source names and whether it names them as what they are."""
    if is_glob(source):
        yield from _matches(source)
        return
    place = locate(source)
    info = place.info
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(f"{source}: no such file or folder")
    if info.type == fs.FileType.Directory:
        for below in _below(place):
            yield below, False
    else:
        yield info, True


def _matches(pattern: str) -> Iterator[tuple[fs.FileInfo, bool]]:
    """Yield the files that a glob matches, and those below the folders that it matches."""
    query = ""
    if "://" in pattern:
        pattern, question, query = pattern.partition("?")
        query = question + query
    start = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    folder = locate((start[: start.rfind("/") + 1] or "./") + query)
    if not folder.exists():
        raise FileNotFoundError(f"{pattern}: there is no folder {folder.path}")
    rest = pattern[start.rfind("/") + 1 :]
    expression = re.compile(glob_expression(rest) + "(/.*)?", re.DOTALL)
    of_csv = pattern.lower().endswith(".csv")
    for info in _below(folder):
        match = expression.fullmatch(info.path[len(folder.path.rstrip("/")) + 1 :])
        if match:
            yield info, of_csv and not match.groups()[-1]


def glob_expression(pattern: str) -> str:
    """Return the regular expression of a glob; `**` stands for any folders, `*` for no `/`."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", pattern, re.DOTALL)
    return "".join(
        parts.get(token)
        or (token.replace("[!", "[^") if token[0] == "[" and len(token) > 1 else re.escape(token))
        for token in tokens
    )


def _below(folder: Location) -> list[fs.FileInfo]:
    """Return the files below a folder that are not hidden, by path."""
    infos = folder.filesystem.get_file_info(fs.FileSelector(folder.path, recursive=True))
    cut = len(folder.path.rstrip("/")) + 1
    return sorted(
        (info for info in infos if info.is_file and not is_hidden(info.path[cut:])),
        key=lambda info: info.path,
    )


def is_hidden(path: str) -> bool:
    """Return whether a file begins with `.` or lies in a folder that begins with `.` or `_`."""
    *folders, name = path.split("/")
    return name.startswith(".") or any(part[:1] in (".", "_") for part in folders)


def _choices() -> str:
    return "*.cif, POSCAR*, *.vasp, *.extxyz, *.xyz, *.json, *.csv, *.parquet, *.tar.gz, *.zip"
