"""Structures in JSON: as pymatgen or JARVIS writes them, alone or with further columns.

A structure is pymatgen's dict (`lattice`, `sites`) or JARVIS's (`lattice_mat`, `coords`, `elements`, `cartesian`). An
entry is a structure, or a mapping of columns, one of which holds the structure: `structure`, `atoms`, or the
only one. Its id is its `id`, `jid` or `material_id`; further columns are its numbers, texts and
truth values, with JARVIS's "na" for none; lists and mappings are skipped. How entries make a file, `json_files` says.

A reader of our own for both, since what is read is a few lists; tests compare with pymatgen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.io.text import printable
from emrl_ray.sources.files.formats.cell_parsing import is_full, lattice_of, vectors
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure, ReadError, attempt

ID_NAMES = ("id", "jid", "material_id")
STRUCTURE_NAMES = ("structure", "atoms")
MISSING = ("na",)
"""What JARVIS writes where it has no value."""
NO_STRUCTURE = "no structure (lattice and sites, or lattice_mat and coords)"
CELL = ("a", "b", "c", "alpha", "beta", "gamma")


def read_structure(content: Any) -> ParsedCrystal:
    """Return the crystal of a structure's dict; raises ReadError for what is none."""
    if not _is_structure(content):
        raise ReadError(RejectReason.UNREADABLE, NO_STRUCTURE)
    return _pymatgen(content) if "sites" in content else _jarvis(content)


def read_entry(entry: Any, name: str | None, number: int) -> ParsedCrystal | ParseFailure:
    """Return the crystal of an entry that its file calls `name`, or `number` where that is None."""
    own = own_id(entry) or name
    found = attempt(_crystal, entry)
    return found._replace(id=own, number=number)


def has_structure(entry: Any) -> bool:
    """Return whether an entry is a structure or has one in a column."""
    return _is_structure(entry) or (
        isinstance(entry, dict) and any(map(_is_structure, entry.values()))
    )


def own_id(entry: Any) -> str | None:
    """Return the id that an entry brings; None if it brings none."""
    if not isinstance(entry, dict) or _is_structure(entry):
        return None
    return next((text for name in ID_NAMES if (text := _text(entry.get(name)))), None)


def extra_columns(entry: Any) -> dict[str, str]:
    """Return the columns of an entry beside its structure, as texts; none if it has no structure."""
    if not isinstance(entry, dict) or _is_structure(entry):
        return {}
    try:
        name = _structure_name(entry)
    except ReadError:
        return {}
    missing = MISSING if "lattice_mat" in entry[name] else ()
    texts = {printable(key): _text(value) for key, value in entry.items() if key and key != name}
    return {key: "" if text in missing else text for key, text in texts.items() if text is not None}


def _crystal(entry: Any) -> ParsedCrystal:
    if not isinstance(entry, dict):
        raise ReadError(RejectReason.UNREADABLE, f"{type(entry).__name__} is no structure")
    if _is_structure(entry):
        return read_structure(entry)
    crystal = read_structure(entry[_structure_name(entry)])
    return crystal._replace(values=extra_columns(entry))


def _is_structure(value: Any) -> bool:
    return isinstance(value, dict) and (
        {"lattice", "sites"} <= value.keys() or {"lattice_mat", "coords"} <= value.keys()
    )


def _structure_name(entry: Mapping[str, Any]) -> str:
    """Return the column that holds the structure."""
    found = [name for name in STRUCTURE_NAMES if _is_structure(entry.get(name))]
    found = found or [name for name, value in entry.items() if _is_structure(value)]
    if len(found) > 1 and found[0] not in STRUCTURE_NAMES:
        raise ReadError(RejectReason.UNREADABLE, f"several structures: {', '.join(found)}")
    if not found:
        named = [name for name in STRUCTURE_NAMES if name in entry]
        detail = f"{named[0]!r} is {NO_STRUCTURE}" if named else NO_STRUCTURE
        raise ReadError(RejectReason.UNREADABLE, detail)
    return found[0]


def _pymatgen(content: Mapping[str, Any]) -> ParsedCrystal:
    sites = content["sites"]
    if not sites:
        raise ReadError(RejectReason.NO_ATOMS)
    numbers = [_atomic_number(_only(site["species"])) for site in sites]
    lattice = content["lattice"]
    if "matrix" in lattice:
        cell = vectors(lattice["matrix"], 3, RejectReason.BAD_CELL)
    else:
        cell = lattice_of([float(lattice[name]) for name in CELL])
    listed = [site["abc"] for site in sites]
    coords = vectors(listed, len(sites), RejectReason.BAD_COORDINATES)
    return ParsedCrystal(cell, np.array(numbers, np.uint8), coords)


def _jarvis(content: Mapping[str, Any]) -> ParsedCrystal:
    elements = content["elements"]
    if not elements:
        raise ReadError(RejectReason.NO_ATOMS)
    numbers = [_atomic_number(str(name).strip()) for name in elements]
    cell = vectors(content["lattice_mat"], 3, RejectReason.BAD_CELL)
    coords = vectors(content["coords"], len(numbers), RejectReason.BAD_COORDINATES)
    if content.get("cartesian"):
        coords = coords @ np.linalg.inv(cell)
    return ParsedCrystal(cell, np.array(numbers, np.uint8), coords)


def _only(species: list[dict[str, Any]]) -> str:
    """Return the one species that fills a site."""
    if len(species) != 1 or not is_full(species[0].get("occu", 1)):
        shares = ", ".join(f"{part['element']} {part.get('occu', 1)}" for part in species)
        raise ReadError(RejectReason.DISORDERED, f"a site of {shares}")
    return str(species[0]["element"])


def _atomic_number(species: str) -> int:
    number = ATOMIC_NUMBERS.get(species.rstrip("+-.0123456789"))
    if number is None:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"species {species[:40]!r}")
    return number


def _text(value: Any) -> str | None:
    """Return a value of a column as text, empty for none; None for a list or a mapping."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable(str(value)) if isinstance(value, (int, float, str)) else None
