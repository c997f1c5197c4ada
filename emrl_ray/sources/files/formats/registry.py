"""From the content of a file to crystals: one parser a format, and never another if it fails.

| format | parser |
|---|---|
| CIF | gemmi (`sources.files.formats.cif`) |
| extended XYZ | our own (`sources.files.formats.extxyz`) |
| POSCAR | pymatgen `Poscar`; without the line of element names (VASP 4) it is unreadable |
| vasprun.xml | pymatgen `Vasprun`: the structure of the last ionic step |
| JSON | our own (`sources.files.formats.json_stream`, `sources.files.formats.structure_json`) |
| row of an ASE database | ASE (`sources.files.formats.ase_db`) |

pymatgen takes seconds to import, so it is imported where it reads. A content that gzip made is unpacked first.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.io.archives import GZIP_MAGIC, gunzipped
from emrl_ray.sources.files.formats.ase_db import read_row
from emrl_ray.sources.files.formats.cif import read_cif
from emrl_ray.sources.files.formats.extxyz import read_extxyz
from emrl_ray.sources.files.formats.json_stream import read_json
from emrl_ray.sources.files.parsed import (
    ParsedCrystal,
    ParseFailure,
    ReadError,
    attempt,
    failure_of,
)

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


class Format(StrEnum):
    """Format of a file that holds crystals."""

    CIF = "cif"
    POSCAR = "poscar"
    EXTXYZ = "extxyz"
    JSON = "json"
    VASPRUN = "vasprun"
    ASE_ROW = "row of an ase database"
    """Its content is the address of the row."""


def read_document(content: bytes, kind: Format) -> list[ParsedCrystal | ParseFailure]:
    """Return what a file holds, in order: at least one crystal or flaw."""
    try:
        if content.startswith(GZIP_MAGIC):
            content = gunzipped(content)
        if not content.strip():
            return [ParseFailure(RejectReason.EMPTY)]
        found = READERS[kind](content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return [
            ParseFailure(
                RejectReason.NOT_UTF8, f"byte {error.start} is {content[error.start]:#04x}"
            )
        ]
    except Exception as error:
        return [failure_of(error)]
    return found or [ParseFailure(RejectReason.NO_ATOMS, "the file holds no structure")]


def read_poscar(text: str) -> list[ParsedCrystal | ParseFailure]:
    """Return the crystal of a POSCAR or CONTCAR file."""
    return [attempt(_poscar, text)]


def read_vasprun(text: str) -> list[ParsedCrystal | ParseFailure]:
    """Return the crystal with which a run of VASP ended, from its vasprun.xml."""
    return [attempt(_vasprun, text)]


READERS: dict[Format, Callable[[str], list[ParsedCrystal | ParseFailure]]] = {
    Format.CIF: read_cif,
    Format.POSCAR: read_poscar,
    Format.EXTXYZ: read_extxyz,
    Format.JSON: read_json,
    Format.VASPRUN: read_vasprun,
    Format.ASE_ROW: read_row,
}
PARSERS = {
    Format.CIF: "gemmi",
    Format.POSCAR: "pymatgen",
    Format.EXTXYZ: "emrl_ray",
    Format.JSON: "emrl_ray",
    Format.VASPRUN: "pymatgen",
    Format.ASE_ROW: "ase",
}
"""The library that reads a format, the only one to try."""


def _poscar(text: str) -> ParsedCrystal:
    from pymatgen.io.vasp.inputs import Poscar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            poscar = Poscar.from_str(text, read_velocities=False)
        except np.linalg.LinAlgError:
            raise
        except ValueError as error:
            raise ReadError(_reason(str(error)), str(error)) from None
    if not poscar.true_names:
        raise ReadError(RejectReason.UNREADABLE, "no line of element names (VASP 4 format)")
    return _from_structure(poscar.structure)


def _vasprun(text: str) -> ParsedCrystal:
    from pymatgen.io.vasp.outputs import Vasprun

    if "<calculation>" not in text:
        raise ReadError(RejectReason.UNREADABLE, "the run has no ionic step")
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        file = (
            Path(folder) / "vasprun.xml"
        )  # pymatgen reads files alone; the name is in its messages
        file.write_text(text, "utf-8")
        run = Vasprun(file, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    return _from_structure(run.final_structure)


def _reason(message: str) -> RejectReason:
    """Return what a ValueError of pymatgen's is about."""
    if message.startswith("Can't parse Element"):
        return RejectReason.UNKNOWN_ELEMENT
    if message.startswith("You need at least 1 site"):
        return RejectReason.NO_ATOMS
    return RejectReason.UNREADABLE


def _from_structure(structure: Structure) -> ParsedCrystal:
    if not structure.is_ordered:
        raise ReadError(RejectReason.DISORDERED, f"composition {structure.formula}")
    numbers = [ATOMIC_NUMBERS.get(site.specie.symbol, 0) for site in structure]
    if 0 in numbers:
        raise ReadError(
            RejectReason.UNKNOWN_ELEMENT, f"species {structure[numbers.index(0)].specie}"
        )
    return ParsedCrystal(
        np.array(structure.lattice.matrix), np.array(numbers, np.uint8), structure.frac_coords
    )
