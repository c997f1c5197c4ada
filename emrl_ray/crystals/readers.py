"""From the content of a file to crystals: one parser a format, and never another if it fails.

| format | parser |
|---|---|
| CIF | gemmi (`crystals.cif`) |
| extended XYZ | our own (`crystals.extxyz`) |
| POSCAR | pymatgen `Poscar`; without the line of element names (VASP 4) it is unreadable |
| JSON | pymatgen `Structure.from_dict`: a structure, a list of them, or a mapping id → structure |

pymatgen takes seconds to import, so it is imported where it reads.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from emrl_ray.crystals.cif import read_cif
from emrl_ray.crystals.crystal import Crystal, Flaw, ReadError, attempt, flaw_of
from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.crystals.extxyz import read_extxyz
from emrl_ray.crystals.tables import RejectReason

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


class Format(StrEnum):
    """Format of a file that holds crystals."""

    CIF = "cif"
    POSCAR = "poscar"
    EXTXYZ = "extxyz"
    JSON = "json"


def read_document(content: bytes, kind: Format) -> list[Crystal | Flaw]:
    """Return what a file holds, in order: at least one crystal or flaw."""
    if not content.strip():
        return [Flaw(RejectReason.EMPTY)]
    try:
        found = READERS[kind](content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return [Flaw(RejectReason.NOT_UTF8, f"byte {error.start} is {content[error.start]:#04x}")]
    except Exception as error:
        return [flaw_of(error)]
    return found or [Flaw(RejectReason.NO_ATOMS, "the file holds no structure")]


def read_poscar(text: str) -> list[Crystal | Flaw]:
    """Return the crystal of a POSCAR or CONTCAR file."""
    return [attempt(_poscar, text)]


def read_json(text: str) -> list[Crystal | Flaw]:
    """Return the crystals of a JSON file of pymatgen structures, in order."""
    entries = _entries(json.loads(text))
    return [attempt(read_structure, own_id, entry) for own_id, entry in entries]


READERS: dict[Format, Callable[[str], list[Crystal | Flaw]]] = {
    Format.CIF: read_cif,
    Format.POSCAR: read_poscar,
    Format.EXTXYZ: read_extxyz,
    Format.JSON: read_json,
}


def _poscar(text: str) -> Crystal:
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


def _reason(message: str) -> RejectReason:
    """Return what a ValueError of pymatgen's is about."""
    if message.startswith("Can't parse Element"):
        return RejectReason.UNKNOWN_ELEMENT
    if message.startswith("You need at least 1 site"):
        return RejectReason.NO_ATOMS
    return RejectReason.UNREADABLE


def _entries(content: Any) -> list[tuple[str | None, Any]]:
    """Return (own id, structure) of the entries of a JSON file."""
    if isinstance(content, list):
        return [(None, entry) for entry in content]
    if isinstance(content, dict) and not {"lattice", "sites", "@class"} & content.keys():
        return list(content.items())
    return [(None, content)]


def read_structure(own_id: str | None, entry: Any) -> Crystal:
    """Return the crystal of a pymatgen structure as JSON holds it; raises ReadError for another."""
    from pymatgen.core.structure import Structure

    if not isinstance(entry, dict) or not {"lattice", "sites"} <= entry.keys():
        raise ReadError(RejectReason.UNREADABLE, "not a pymatgen structure (lattice, sites)")
    if not entry["sites"]:
        raise ReadError(RejectReason.NO_ATOMS)
    for site in entry["sites"]:
        for species in site["species"]:
            if species["element"].rstrip("+-.0123456789") not in ATOMIC_NUMBERS:
                raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"species {species['element']!r}")
    return _from_structure(Structure.from_dict(entry))._replace(id=own_id)


def _from_structure(structure: Structure) -> Crystal:
    if not structure.is_ordered:
        raise ReadError(RejectReason.DISORDERED, f"composition {structure.formula}")
    numbers = [ATOMIC_NUMBERS.get(site.specie.symbol, 0) for site in structure]
    if 0 in numbers:
        raise ReadError(
            RejectReason.UNKNOWN_ELEMENT, f"species {structure[numbers.index(0)].specie}"
        )
    return Crystal(
        np.array(structure.lattice.matrix), np.array(numbers, np.uint8), structure.frac_coords
    )
