"""What a file holds and which id its crystal has, told by its name alone.

| name | holds | id of its crystal |
|---|---|---|
| `*.cif` | CIF | stem |
| `*.xyz`, `*.extxyz` | extended XYZ | `id` of the frame, else stem |
| `*.json` | structures as pymatgen or JARVIS writes them, or a table of them | their own, else stem |
| `*.vasp`, `*.poscar`, `POSCAR*`, `CONTCAR*` | POSCAR | stem; folder if it is just POSCAR or CONTCAR |
| `vasprun.xml*`, `*_vasprun.xml` | the run of VASP | what else is in the name, else the folder |
| `*.csv` | a CIF a row, and further columns | the id column, else a hash of the CIF |
| `*.parquet` | crystals, or structures as OPTIMADE names them | the id column, else a hash of the row |
| `*.db` | ASE database | stem and number of the row |
| `*.tar`, `*.tar.gz`, `*.zip`, ... | an archive of all of these but CSV, Parquet, databases and archives | |

All but archives, Parquet and databases may end in `.gz` beyond that, and `*.mmcif` is taken for a CIF, whose
reader says why it does not read it. The k-th of several crystals of a file has `#k` after the stem.
"""

from __future__ import annotations

import posixpath
import re
from enum import StrEnum

from emrl_ray.io.archives import is_archive
from emrl_ray.sources.files.formats.registry import Format

POSCAR_NAME = re.compile(r"(POSCAR|CONTCAR)(?:[._-](.+))?", re.IGNORECASE)
VASPRUN_NAME = re.compile(r"(?:(.+?)[._-])?vasprun\.xml(?:[._-](.+))?", re.IGNORECASE)
ENDINGS = {
    ".cif": Format.CIF,
    ".mmcif": Format.CIF,
    ".xyz": Format.EXTXYZ,
    ".extxyz": Format.EXTXYZ,
    ".json": Format.JSON,
    ".vasp": Format.POSCAR,
    ".poscar": Format.POSCAR,
}
OWN_RECORDS = (
    *("_run.json", "_manifest.json", "_plan.json", "_lock.json"),
    *("run.json", "manifest.json"),
)
"""What our verbs write of themselves beside their tables."""
NOT_CRYSTALS = ("atom_init.json", *OWN_RECORDS)
"""With the table of elements that lies beside cgcnn's CIFs."""
CHOICES = (
    "*.cif, POSCAR*, *.vasp, vasprun.xml, *.extxyz, *.xyz, *.json, *.csv, *.parquet, *.db, "
    "*.tar.gz, *.zip; most may end in .gz"
)
"""The names of files of crystals, for people."""


class Container(StrEnum):
    """A file of many crystals that is read in parts."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json table"
    ASE = "ase database"
    ARCHIVE = "archive"


KINDS: dict[str, Format | Container] = {kind.value: kind for kind in (*Format, *Container)}
"""All kinds of files by their values."""
ONLY_IF_NAMED = (Container.CSV, Container.ASE)
"""Files that are sources only where they are named: others of their name lie about in folders."""


def kind_of(path: str) -> Format | Container | None:
    """Return what a file holds, by its name; None for no crystals."""
    full = path.rsplit("/", 1)[-1].lower()
    if is_archive(full):
        return Container.ARCHIVE
    name = full.removesuffix(".gz")
    ending = posixpath.splitext(name)[1]
    if ending == ".csv":
        return Container.CSV
    if full.endswith((".parquet", ".db")):
        return Container.PARQUET if ending == ".parquet" else Container.ASE
    if name in NOT_CRYSTALS:
        return None
    if ending in ENDINGS:
        return ENDINGS[ending]
    if VASPRUN_NAME.fullmatch(name):
        return Format.VASPRUN
    return Format.POSCAR if POSCAR_NAME.fullmatch(name) else None


def id_of(path: str) -> str:
    """Return the id of the crystal in a file, from its path."""
    folder, name = posixpath.split(path)
    if name.lower().endswith(".gz"):
        name = name[:-3]
    stem, ending = posixpath.splitext(name)
    parent = posixpath.basename(folder)
    if ending.lower() in ENDINGS:
        return parent if stem.upper() in ("POSCAR", "CONTCAR") else stem
    if run := VASPRUN_NAME.fullmatch(name):
        return run[1] or run[2] or parent or "vasprun"
    match = POSCAR_NAME.fullmatch(name)
    if match is None:
        return stem
    return match[2] or parent or match[1]


def plain(path: str) -> str:
    """Return the path of a member of an archive without `.`, `..` and a `/` at its start."""
    return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))


def is_hidden(path: str) -> bool:
    """Return whether a file begins with `.` or lies in a folder that begins with `.` or `_`."""
    *folders, name = path.split("/")
    return name.startswith(".") or any(part[:1] in (".", "_") for part in folders)
