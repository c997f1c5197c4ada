"""Ions: common oxidation states and tabulated ionic radii."""

from __future__ import annotations

import csv
import io
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import numpy as np

from emrl_ray.crystals.elements import SYMBOLS
from emrl_ray.sources.generation.oxidation_states import occurrences

COORDINATIONS = (4, 6, 8, 12)
"""Coordination numbers for which the table has a column."""


class Ion(NamedTuple):
    """An element in one of its common oxidation states."""

    element: str
    atomic_number: int
    charge: int
    """Formal charge, e."""
    radii: dict[int, float]
    """Coordination number → radius in Å, those that are tabulated."""
    rank: int
    """0 for the element's most common oxidation state, 1 for the next, and so on."""

    def radius(self, coordination: float) -> float:
        """Return the radius in Å at a coordination number.

        It is interpolated between the tabulated ones and constant beyond the first and the last.
        """
        return float(np.interp(coordination, list(self.radii), list(self.radii.values())))


def read_ions() -> list[Ion]:
    """Return the package's ions; the states of an element stand by how common they are.

    Radii: R. D. Shannon, Acta Cryst. A32, 751 (1976), "effective ionic
    radii", high spin where there is a choice; the trivalent anions P, As and Sb, which Shannon does
    not list: L. Pauling, The Nature of the Chemical Bond (1960), crystal radii.
    """
    text = (
        resources.files("emrl_ray.sources.generation").joinpath("data/ions.csv").read_text("utf-8")
    )
    ions: list[Ion] = []
    for row in csv.DictReader(io.StringIO(text)):
        radii = {n: float(row[f"radius_{n}"]) for n in COORDINATIONS if row[f"radius_{n}"]}
        rank = sum(ion.element == row["element"] for ion in ions)
        ions.append(Ion(row["element"], int(row["atomic_number"]), int(row["charge"]), radii, rank))
    return ions


_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV")
_HIGH_SPIN = ("High Spin", "", "Low Spin")
_NOT_LISTED = {(50, 2): {6: 1.10}}
"""Sn2+: G. Kieslich, S. Sun, A. K. Cheetham, Chem. Sci. 6, 3430 (2015)."""


@lru_cache(maxsize=1)
def shannon_ions() -> dict[tuple[int, int], Ion]:
    """Return the ions by atomic number and charge; the commonest state of an element has rank 0.

    Radii: R. D. Shannon, Acta Cryst. A32, 751 (1976), effective ionic radii as pymatgen lists them,
    high spin where there is a choice, square-planar and pyramidal coordinations left out.
    """
    from pymatgen.core.periodic_table import Element

    ions: dict[tuple[int, int], Ion] = {}
    seen = occurrences()
    for number, symbol in enumerate(SYMBOLS, start=1):
        listed = Element(symbol).data.get("Shannon radii")
        states = listed.items() if isinstance(listed, dict) else ()
        radii = {int(charge): _by_coordination(kinds) for charge, kinds in states if charge}
        radii |= {charge: known for (z, charge), known in _NOT_LISTED.items() if z == number}
        found = {charge: known for charge, known in radii.items() if known}
        ranked = sorted(found, key=lambda charge: -seen.get((number, charge), 0))
        for rank, charge in enumerate(ranked):
            ions[number, charge] = Ion(symbol, number, charge, found[charge], rank)
    return ions


def _by_coordination(entries: dict[str, dict[str, dict[str, float]]]) -> dict[int, float]:
    """Return the radii in Å by ascending coordination number."""
    return {
        _ROMAN.index(coordination) + 1: next(
            spins[spin]["ionic_radius"] for spin in _HIGH_SPIN if spin in spins
        )
        for coordination, spins in sorted(
            entries.items(), key=lambda entry: _ROMAN.index(entry[0]) if entry[0] in _ROMAN else 99
        )
        if coordination in _ROMAN
    }
