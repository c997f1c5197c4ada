"""Structures and properties as OPTIMADE servers describe them (OPTIMADE specification v1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from emrl_ray.config import ConfigError
from emrl_ray.crystals.crystal import Crystal, ReadError, attempt
from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.crystals.tables import CRYSTAL_SCHEMA, READ_BY, RejectReason
from emrl_ray.crystals.units import number_field
from emrl_ray.fetching.rows import Entry

STRUCTURE_FIELDS = (
    "lattice_vectors",
    "cartesian_site_positions",
    "species",
    "species_at_sites",
    "structure_features",
)
"""What a structure is read from."""
NUMBERS = {"float", "integer"}
TEXTS = {"string", "timestamp"}
NO_UNIT = {None, "", "dimensionless", "inapplicable"}
WHOLE = 1e-4
"""A concentration that differs from 1 by less than this is that of a full site."""


def read_entry(resource: Mapping[str, Any], fields: Sequence[str]) -> Entry:
    """Return one resource object of an answer, with the values of `fields`."""
    attributes = resource.get("attributes") or {}
    return Entry(
        str(resource.get("id") or ""),
        attempt(read_attributes, attributes),
        {name: attributes.get(name) for name in fields},
    )


def read_attributes(attributes: Mapping[str, Any]) -> Crystal:
    """Return the crystal that the attributes of a structure describe.

    Raises ReadError for disorder (a site with several elements, a vacancy, a part of an atom or
    attached atoms; assemblies), an element that is none, and vectors or positions that are not there.
    """
    features = attributes.get("structure_features") or []
    if "assemblies" in features:
        raise ReadError(RejectReason.DISORDERED, "sites in assemblies")
    if "implicit_atoms" in features:
        raise ReadError(RejectReason.BAD_COORDINATES, "atoms without positions")
    species = {each["name"]: each for each in attributes["species"]}
    names = attributes["species_at_sites"]
    numbers = {name: _atomic_number(species[name]) for name in dict.fromkeys(names)}
    lattice = _numbers(attributes["lattice_vectors"], RejectReason.BAD_CELL, "lattice vectors")
    positions = _numbers(
        attributes["cartesian_site_positions"], RejectReason.BAD_COORDINATES, "positions"
    )
    if lattice.shape != (3, 3):
        raise ReadError(RejectReason.BAD_CELL, "not three lattice vectors")
    sites = [numbers[name] for name in names]
    if not sites:
        raise ReadError(RejectReason.NO_ATOMS)
    if positions.shape != (len(sites), 3):
        raise ReadError(RejectReason.BAD_COORDINATES, f"not 3 for each of {len(sites)} sites")
    return Crystal(lattice, np.array(sites, np.uint8), np.linalg.solve(lattice.T, positions.T).T)


def property_columns(
    names: Sequence[str], properties: Mapping[str, Any], theory: str | None
) -> pa.Schema:
    """Return the columns of the properties `names`; `properties` are those that the server has.

    Raises ConfigError, in one line, for a name that is none of them or no number, truth or text.
    """
    if len({*names}) < len(names):
        raise ConfigError(f"--fields {' '.join(names)}: give each once")
    return pa.schema([_column(name, properties, theory) for name in names])


def _column(name: str, properties: Mapping[str, Any], theory: str | None) -> pa.Field:
    kinds = {known: _kind(entry) for known, entry in properties.items()}
    taken = {*CRYSTAL_SCHEMA.names, READ_BY, *STRUCTURE_FIELDS, "type"}
    choices = [known for known, kind in kinds.items() if kind is not None and known not in taken]
    if name not in choices:
        raise ConfigError(
            f"--fields {name}: choose from {', '.join(choices) or 'none: the server has none'}"
        )
    kind = kinds[name]
    if not pa.types.is_floating(kind):
        return pa.field(name, kind)
    unit = properties[name].get("x-optimade-unit") or properties[name].get("unit")
    field = number_field(name, None if unit in NO_UNIT else str(unit))
    notes = {**(field.metadata or {}), **({b"theory": theory.encode()} if theory else {})}
    return field.with_metadata(notes or None)


def _kind(entry: Mapping[str, Any]) -> pa.DataType | None:
    """Return the type of the column of a property; None if it does not fit into one."""
    kind = entry.get("x-optimade-type") or entry.get("type")
    if kind is None or kind in NUMBERS:
        return pa.float64()
    if kind == "boolean":
        return pa.bool_()
    return pa.string() if kind in TEXTS else None


def _atomic_number(species: Mapping[str, Any]) -> int:
    """Return the element of a species that is one whole atom."""
    symbols, shares = species["chemical_symbols"], species["concentration"]
    if len(symbols) != 1 or symbols == ["vacancy"] or species.get("attached"):
        parts = [f"{symbol} {share:g}" for symbol, share in zip(symbols, shares, strict=True)]
        parts += [f"attached {symbol}" for symbol in species.get("attached") or []]
        raise ReadError(RejectReason.DISORDERED, f"a site of {', '.join(parts)}")
    if abs(shares[0] - 1) > WHOLE:
        raise ReadError(RejectReason.DISORDERED, f"a site of {symbols[0]} {shares[0]:g}")
    if symbols[0] not in ATOMIC_NUMBERS:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"species {symbols[0]!r}")
    return ATOMIC_NUMBERS[symbols[0]]


def _numbers(values: Any, reason: RejectReason, what: str) -> np.ndarray:
    """Return nested lists as an array; raises ReadError where there are none or nulls in them."""
    if values is None:
        raise ReadError(reason, f"no {what}")
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError):
        raise ReadError(reason, f"{what} that are no numbers") from None
