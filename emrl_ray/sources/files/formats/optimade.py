"""Structures as OPTIMADE v1 describes them: what its servers answer, and Parquet files named likewise (LeMaterial).

`lattice_vectors` (Å), `cartesian_site_positions` (Å), `species_at_sites`, and `species`, which says what a name of
a species stands for; where it is not given the names are symbols of elements. Every site must be one whole
atom of one element, with a position, and the crystal periodic in all directions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.formats.cell_parsing import is_full, vectors
from emrl_ray.sources.files.parsed import ParsedCrystal, ReadError

SITES = ("lattice_vectors", "cartesian_site_positions", "species_at_sites")
"""What every structure has."""
STRUCTURE_FIELDS = (*SITES, "species", "structure_features", "dimension_types")
"""What a structure is read from; `nperiodic_dimensions` says the same as the last."""


def read_structure(attributes: Mapping[str, Any]) -> ParsedCrystal:
    """Return the crystal that the attributes of a structure describe.

    Raises ReadError for disorder (a site with several elements, a vacancy, a part of an atom or
    attached atoms; assemblies), an element that is none, a structure that is not periodic in all
    directions, and vectors or positions that are not there.
    """
    names = attributes["species_at_sites"]
    if not names:
        raise ReadError(RejectReason.NO_ATOMS)
    _check_whole(attributes)
    species = _species(attributes.get("species"))
    numbers = {name: _atomic_number(name, species) for name in dict.fromkeys(names)}
    lattice = vectors(attributes.get("lattice_vectors"), 3, RejectReason.BAD_CELL)
    positions = vectors(
        attributes.get("cartesian_site_positions"), len(names), RejectReason.BAD_COORDINATES
    )
    sites = np.array([numbers[name] for name in names], np.uint8)
    return ParsedCrystal(lattice, sites, positions @ np.linalg.inv(lattice))


def _check_whole(attributes: Mapping[str, Any]) -> None:
    """Raise ReadError if a structure is said to be other than its sites, or not periodic in three directions."""
    features = attributes.get("structure_features")
    features = () if features is None else features
    if "assemblies" in features:
        raise ReadError(RejectReason.DISORDERED, "sites in assemblies")
    if "implicit_atoms" in features:
        raise ReadError(RejectReason.BAD_COORDINATES, "atoms without positions")
    types = attributes.get("dimension_types")
    directions = attributes.get("nperiodic_dimensions") if types is None else sum(types)
    if directions not in (None, 3):
        raise ReadError(RejectReason.BAD_CELL, "not periodic in all directions")


def _species(given: Any) -> dict[str, Mapping[str, Any]]:
    """Return what the names of species stand for, given as a list, as JSON, or not at all."""
    listed = json.loads(given) if isinstance(given, str) else given
    return {each["name"]: each for each in listed or ()}


def _atomic_number(name: str, species: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the element of a species that is one whole atom."""
    if species and name not in species:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"no species {name!r} among those listed")
    meaning = species.get(name, {"chemical_symbols": [name], "concentration": [1]})
    symbols, shares = meaning["chemical_symbols"], meaning["concentration"]
    attached = meaning.get("attached") or ()
    whole = len(symbols) == 1 and is_full(shares[0])
    if not whole or symbols[0] == "vacancy" or attached:
        parts = [f"{symbol} {share:g}" for symbol, share in zip(symbols, shares, strict=True)]
        parts += [f"attached {symbol}" for symbol in attached]
        raise ReadError(RejectReason.DISORDERED, f"a site of {', '.join(parts)}")
    if symbols[0] not in ATOMIC_NUMBERS:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"species {symbols[0][:40]!r}")
    return ATOMIC_NUMBERS[symbols[0]]
