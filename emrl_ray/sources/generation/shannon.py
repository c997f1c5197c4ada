"""Shannon's effective ionic radii, those of all ions that he lists."""

from __future__ import annotations

from functools import lru_cache

from emrl_ray.crystals.elements import SYMBOLS
from emrl_ray.sources.generation.ionic_radii import Ion
from emrl_ray.sources.generation.oxidation_states import occurrences

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
