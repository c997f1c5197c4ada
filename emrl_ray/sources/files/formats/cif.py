"""CIF by gemmi: the blocks of a file that hold a structure, with their symmetry expanded.

- Symmetry: the listed operations; without them the space group by its Hall or Hermann-Mauguin
  symbol (origin choice 2 and the axes that the cell's angles suggest, unless the symbol says); with
  no symbol, by its number as if its standard symbol were given; with nothing, P 1. Operations or symbols that
  are given and cannot be read make the crystal unreadable: they are never taken for P 1.
- Special positions: images of one site within 0.1 Å of each other are one site, the one that is
  listed, so that rounded coordinates such as 0.333 do not multiply atoms. Images farther apart stay
  apart: `validation` finds those that overlap.
- Occupancy: a site must be full within 0.001; sites of alternative disorder groups are disorder.
- Element: `_atom_site_type_symbol`; without it the label, which must begin with the symbol as it is
  written ("Na1", "O2a"), since "CA1" or "HO1" could be either of two elements.
- Lattice: c along z and a in the xz plane, as pymatgen places it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache

import gemmi
import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.elements import ATOMIC_NUMBERS, by_electronegativity
from emrl_ray.crystals.schema import RejectReason
from emrl_ray.sources.files.formats.cell_parsing import is_full, lattice_of
from emrl_ray.sources.files.parsed import ParsedCrystal, ParseFailure, ReadError, attempt

CELL_TAGS = tuple(
    f"_cell_{name}"
    for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)
COORDINATES = ("fract_x", "fract_y", "fract_z")
OPERATION_TAGS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
HALL_TAGS = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall")
HERMANN_MAUGUIN_TAGS = ("_space_group_name_H-M_alt", "_symmetry_space_group_name_H-M")
SITE_COLUMNS = (
    *COORDINATES,
    *("type_symbol", "label", "occupancy", "disorder_group", "calc_flag"),
)
SITE_TAGS = {name: f"_atom_site_{name}" for name in SITE_COLUMNS}
MMCIF_CATEGORIES = ("_atom_site.", "_cell.", "_chem_comp_atom.")
SPECIAL_POSITION_TOLERANCE = 0.1
"""Å between images of a site that are one."""
IDENTITY = "x,y,z"
LAST_SPACE_GROUP = 230
MAX_OPERATIONS = 1000
"""A space group has 192 in its largest standard cell; their images are compared pair by pair."""
UNKNOWN = ("", ".", "?")


def read_cif(text: str) -> list[ParsedCrystal | ParseFailure]:
    """Return the crystal of every block that has a cell or atoms, in order."""
    found: list[ParsedCrystal | ParseFailure] = []
    for block in gemmi.cif.read_string(text):
        if block.find_value(CELL_TAGS[0]) is not None or block.find_values(SITE_TAGS["fract_x"]):
            found.append(attempt(read_block, block))
        elif any(block.find_mmcif_category(name) for name in MMCIF_CATEGORIES):
            found.append(
                ParseFailure(
                    RejectReason.UNSUPPORTED, "mmCIF: a macromolecule, or a molecule of one"
                )
            )
    return found


def read_block(block: gemmi.cif.Block) -> ParsedCrystal:
    """Return the crystal of a block; raises ReadError if it is none.

    Its atoms stand by rising electronegativity, as pymatgen's reader orders them, and within that as
    in the file.
    """
    lattice = lattice_of([_cell_value(block, tag) for tag in CELL_TAGS])
    columns = _site_columns(block)
    _check_sites(columns)
    if columns["type_symbol"]:
        numbers = [_typed(symbol) for symbol in columns["type_symbol"]]
    else:
        numbers = [_labelled(label) for label in columns["label"]]
    sites = np.array([_numbers(columns[name]) for name in COORDINATES]).T
    atoms, coords = _expanded(np.array(numbers, np.uint8), sites, _operations(block), lattice)
    order = by_electronegativity(atoms)
    return ParsedCrystal(lattice, atoms[order], coords[order])


def _site_columns(block: gemmi.cif.Block) -> dict[str, list[str]]:
    """Return the values of `SITE_COLUMNS`, none for a column that is not there."""
    loop = block.find_loop(SITE_TAGS[COORDINATES[0]]).get_loop()
    if loop is None:
        return {name: [*block.find_values(tag)] for name, tag in SITE_TAGS.items()}
    tags, values = [tag.lower() for tag in loop.tags], loop.values
    return {
        name: values[tags.index(tag) :: len(tags)] if tag in tags else []
        for name, tag in SITE_TAGS.items()
    }


def _numbers(values: list[str]) -> list[float]:
    """Return numbers, with or without an uncertainty in brackets; NaN for what is none.

    Python's own conversion is several times as fast, and takes underscores beyond CIF's numbers.
    """
    if "_" not in "".join(values):
        with suppress(ValueError):
            return [float(value) for value in values]
    return [gemmi.cif.as_number(value) for value in values]


def _cell_value(block: gemmi.cif.Block, tag: str) -> float:
    value = block.find_value(tag)
    if value is None or value in UNKNOWN:
        raise ReadError(RejectReason.BAD_CELL, f"{tag} is missing")
    return gemmi.cif.as_number(value)


def _check_sites(columns: dict[str, list[str]]) -> None:
    """Raise ReadError unless the listed sites are there, real and full."""
    named = columns["type_symbol"] or columns["label"]
    if not named:
        raise ReadError(RejectReason.NO_ATOMS)
    for name in COORDINATES:
        if len(columns[name]) != len(named):
            raise ReadError(RejectReason.BAD_COORDINATES, f"_atom_site_{name} is missing")
    if "dum" in columns["calc_flag"]:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, "a site is a dummy (calc_flag dum)")
    for value in dict.fromkeys(columns["occupancy"]):
        occupancy = 1.0 if value in UNKNOWN else gemmi.cif.as_number(value)
        if not is_full(occupancy):
            site = named[columns["occupancy"].index(value)]
            raise ReadError(RejectReason.DISORDERED, f"a site of {site} is filled to {value}")
    groups = {*columns["disorder_group"]} - {*UNKNOWN, "0"}
    if len(groups) > 1 or any(group.startswith("-") for group in groups):
        raise ReadError(RejectReason.DISORDERED, f"disorder groups {', '.join(sorted(groups))}")


def _operations(block: gemmi.cif.Block) -> tuple[str, ...]:
    """Return the symmetry operations of the cell as triplets, the identity first."""
    for tag in OPERATION_TAGS:
        listed = [gemmi.cif.as_string(value) for value in block.find_values(tag)]
        listed = [operation for operation in listed if operation not in UNKNOWN]
        if listed:
            return _triplets(tuple(listed))
    if _is_p1(block):
        return (IDENTITY,)
    structure = gemmi.make_small_structure_from_block(block)
    symbol = structure.spacegroup_hall or structure.spacegroup_hm
    group, number = structure.spacegroup, structure.spacegroup_number
    if group is None and not symbol and 1 <= number <= LAST_SPACE_GROUP:
        standard = gemmi.get_spacegroup_reference_setting(number).hm
        cell = structure.cell  # gemmi's own lookup by number would take origin choice 1
        group = gemmi.find_spacegroup_by_name(standard, cell.alpha, cell.gamma, prefer="2")
    if group is not None:
        return tuple(operation.triplet() for operation in group.operations())
    if symbol or number:
        raise ReadError(
            RejectReason.UNREADABLE, f"unknown space group {symbol or number}, and no operations"
        )
    return (IDENTITY,)


def _is_p1(block: gemmi.cif.Block) -> bool:
    """Return whether P 1 is all that is said of the symmetry."""
    if any(block.find_value(tag) is not None for tag in HALL_TAGS):
        return False
    symbols = [block.find_value(tag) for tag in HERMANN_MAUGUIN_TAGS]
    return {gemmi.cif.as_string(symbol) for symbol in symbols if symbol is not None} == {"P 1"}


@lru_cache(maxsize=256)
def _triplets(listed: tuple[str, ...]) -> tuple[str, ...]:
    """Return operations in their standard notation, the identity first."""
    triplets = [*dict.fromkeys(gemmi.Op(operation).triplet() for operation in listed)]
    if len(triplets) > MAX_OPERATIONS:
        raise ReadError(RejectReason.UNREADABLE, f"{len(triplets)} symmetry operations")
    if IDENTITY not in triplets:
        raise ReadError(RejectReason.UNREADABLE, "the symmetry operations lack the identity")
    return (IDENTITY, *(triplet for triplet in triplets if triplet != IDENTITY))


@lru_cache(maxsize=256)
def _seitz_matrices(triplets: tuple[str, ...]) -> NDArray[np.float64]:
    """Return (S, 3, 4) rotations and translations of S operations on fractional coordinates."""
    return np.array([gemmi.Op(triplet).float_seitz()[:3] for triplet in triplets])


def _expanded(
    numbers: NDArray[np.uint8],
    sites: NDArray[np.float64],
    operations: tuple[str, ...],
    lattice: NDArray[np.float64],
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the atomic numbers (N,) and coordinates (N, 3) of the distinct images of all sites.

    Images of a site stand together, the site itself first.
    """
    if len(operations) == 1:
        return numbers, sites
    if not np.isfinite(sites).all():
        raise ReadError(RejectReason.BAD_COORDINATES, "fractional coordinates that are no numbers")
    seitz = _seitz_matrices(operations)
    images = np.einsum("sij,nj->nsi", seitz[:, :, :3], sites) + seitz[:, :, 3]
    orbits = [_distinct(orbit, lattice) for orbit in images]
    return np.repeat(numbers, [len(orbit) for orbit in orbits]), np.concatenate(orbits)


def _distinct(images: NDArray[np.float64], lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the images (M, 3) that are not on top of an earlier one."""
    difference = images[:, None] - images
    difference -= np.rint(difference)
    close = ((difference @ lattice) ** 2).sum(axis=2) < SPECIAL_POSITION_TOLERANCE**2
    return images[~np.tril(close, -1).any(axis=1)]


@lru_cache(maxsize=1024)
def _typed(symbol: str) -> int:
    """Return the atomic number of a type symbol such as ``Na``, ``Fe3+`` or ``O2-``."""
    letters = re.match(r"['\"]?([A-Za-z]*)", symbol)
    number = ATOMIC_NUMBERS.get(letters[1].capitalize()) if letters else None
    if number is None:
        raise ReadError(RejectReason.UNKNOWN_ELEMENT, f"type symbol {symbol!r}")
    return number


@lru_cache(maxsize=1024)
def _labelled(label: str) -> int:
    """Return the atomic number of a label such as ``Na1`` or ``O2a``."""
    letters = re.match(r"['\"]?([A-Z][a-z]?)(?![A-Za-z])", label)
    number = ATOMIC_NUMBERS.get(letters[1]) if letters else None
    if number is None:
        raise ReadError(
            RejectReason.UNKNOWN_ELEMENT, f"label {label!r}, and no _atom_site_type_symbol"
        )
    return number
