"""Structures in JSON: as pymatgen or JARVIS writes them, alone or with further columns.

A structure is pymatgen's dict (`lattice`, `sites`) or JARVIS's (`lattice_mat`, `coords`, `elements`, `cartesian`). An
entry is a structure, or a mapping of columns, one of which holds the structure: `structure`, `atoms`, or the
only one. Its id is its `id`, `jid` or `material_id`; further columns are its numbers, texts and
truth values, with JARVIS's "na" for none; lists and mappings are passed over. A file is an entry, a list of
them, a mapping of ids to them, or a table (`columns`, `data`).

A reader of our own for both, since what is read is a few lists; tests compare with pymatgen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from emrl_ray.crystals.crystal import Crystal, Flaw, ReadError, attempt
from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.crystals.numbers import is_full, lattice_of, vectors
from emrl_ray.crystals.tables import RejectReason

ID_NAMES = ("id", "jid", "material_id")
STRUCTURE_NAMES = ("structure", "atoms")
MISSING = ("na",)
"""What JARVIS writes where it has no value."""
CELL = ("a", "b", "c", "alpha", "beta", "gamma")


def read_json(text: str) -> list[Crystal | Flaw]:
    """Return the crystals of a JSON file, in order."""
    return [attempt(_crystal, key, entry) for key, entry in _entries(json.loads(text))]


def read_structure(content: Any) -> Crystal:
    """Return the crystal of a structure's dict; raises ReadError for what is none."""
    if not _is_structure(content):
        raise ReadError(
            RejectReason.UNREADABLE,
            "not a structure (lattice and sites, or lattice_mat and coords)",
        )
    return _pymatgen(content) if "sites" in content else _jarvis(content)


def further_columns(entry: Any) -> dict[str, str]:
    """Return the columns of an entry beside its structure, as texts; none if it has no structure."""
    if not isinstance(entry, dict) or _is_structure(entry):
        return {}
    try:
        name = _structure_name(entry)
    except ReadError:
        return {}
    missing = MISSING if "lattice_mat" in (entry[name] or ()) else ()
    texts = {key: _text(value) for key, value in entry.items() if key != name}
    return {key: "" if text in missing else text for key, text in texts.items() if text is not None}


def _entries(content: Any) -> list[tuple[str | None, Any]]:
    """Return (key, entry) of the entries of a file."""
    if isinstance(content, list):
        return [(None, entry) for entry in content]
    if not isinstance(content, dict):
        return [(None, content)]
    if {"columns", "data"} <= content.keys():
        labels = content.get("index") or []
        keys = [label if isinstance(label, str) else None for label in labels]
        keys += [None] * (len(content["data"]) - len(keys))
        rows = content["data"]
        return [
            (key, dict(zip(content["columns"], row, strict=True)))
            for key, row in zip(keys, rows, strict=True)
        ]
    alone = {"@class", "lattice", "sites", "jid", *STRUCTURE_NAMES} & content.keys()
    return [(None, content)] if alone else list(content.items())


def _crystal(key: str | None, entry: Any) -> Crystal:
    if not isinstance(entry, dict):
        raise ReadError(RejectReason.UNREADABLE, f"{type(entry).__name__} is no structure")
    if _is_structure(entry):
        return read_structure(entry)._replace(id=key)
    crystal = read_structure(entry[_structure_name(entry)])
    own = next((str(entry[name]) for name in ID_NAMES if _text(entry.get(name))), key)
    return crystal._replace(id=own, values=further_columns(entry))


def _is_structure(value: Any) -> bool:
    return isinstance(value, dict) and (
        {"lattice", "sites"} <= value.keys() or {"lattice_mat", "coords"} <= value.keys()
    )


def _structure_name(entry: Mapping[str, Any]) -> str:
    """Return the column that holds the structure."""
    found = [name for name in STRUCTURE_NAMES if name in entry]
    found = found or [name for name, value in entry.items() if _is_structure(value)]
    if len(found) > 1 and found[0] not in STRUCTURE_NAMES:
        raise ReadError(RejectReason.UNREADABLE, f"several structures: {', '.join(found)}")
    if not found:
        raise ReadError(
            RejectReason.UNREADABLE, "no structure (lattice and sites, or lattice_mat and coords)"
        )
    return found[0]


def _pymatgen(content: Mapping[str, Any]) -> Crystal:
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
    return Crystal(cell, np.array(numbers, np.uint8), coords)


def _jarvis(content: Mapping[str, Any]) -> Crystal:
    elements = content["elements"]
    if not elements:
        raise ReadError(RejectReason.NO_ATOMS)
    numbers = [_atomic_number(str(name).strip()) for name in elements]
    cell = vectors(content["lattice_mat"], 3, RejectReason.BAD_CELL)
    coords = vectors(content["coords"], len(numbers), RejectReason.BAD_COORDINATES)
    if content.get("cartesian"):
        coords = coords @ np.linalg.inv(cell)
    return Crystal(cell, np.array(numbers, np.uint8), coords)


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
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float, str)) else None
