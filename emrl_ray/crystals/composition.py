"""What a crystal is made of, coarsely: its class, its anion, its share of metals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import ATOMIC_NUMBERS, MAX_ATOMIC_NUMBER

_NONMETALS = "H He C N O F Ne P S Cl Ar Se Br Kr I Xe At Rn Ts Og"
_METALLOIDS = "B Si Ge As Sb Te Po"
"""With the nonmetals what counts as no metal; the other elements do."""

_ANIONS = {
    "halide": "F Cl Br I At",
    "oxide": "O",
    "chalcogenide": "S Se Te Po",
    "pnictide": "N P As Sb",
}
"""A crystal is of the first of these classes of which it has an element."""

CLASSES = (*_ANIONS, "metal", "other")
"""Classes of crystals, in their order of precedence (`composition_classes`)."""


def _holding(symbols: str) -> NDArray[np.bool_]:
    """Return the table (119,) that tells by atomic number whether an element is one of these."""
    table = np.zeros(MAX_ATOMIC_NUMBER + 1, bool)
    table[[ATOMIC_NUMBERS[symbol] for symbol in symbols.split()]] = True
    return table


def composition_classes(batch: CrystalBatch) -> NDArray[np.int64]:
    """Return the class (B,) of each crystal, as an index of `CLASSES`.

    The first that holds: with a halogen a halide, with oxygen an oxide, with S, Se, Te or Po a
    chalcogenide, with N, P, As or Sb a pnictide, of metals alone a metal (elements and
    intermetallics), else other (carbides, borides, silicides, hydrides ...). So an oxyfluoride is a
    halide, as is a hybrid perovskite with its C, N and H, and a sulfate is an oxide.
    """
    classes = np.full(batch.n_crystals, CLASSES.index("other"))
    classes[metal_content(batch) == 1] = CLASSES.index("metal")
    for name in reversed(_ANIONS):
        classes[_share(batch, _holding(_ANIONS[name])) > 0] = CLASSES.index(name)
    return classes


def metal_content(batch: CrystalBatch) -> NDArray[np.float64]:
    """Return the fraction (B,) of each crystal's atoms that are metals.

    Metals are all elements but H, C, N, O, P, S, Se, the halogens, the noble gases and the
    metalloids B, Si, Ge, As, Sb, Te, Po.
    """
    return 1 - _share(batch, _holding(f"{_NONMETALS} {_METALLOIDS}"))


def anions(batch: CrystalBatch) -> list[str | None]:
    """Return the symbol of the element that makes each crystal's class: a bromide's is Br.

    Of several the lightest of the class; None for metals and others.
    """
    found = np.full(batch.n_crystals, None, object)
    for symbol in reversed(" ".join(_ANIONS.values()).split()):
        found[_share(batch, _holding(symbol)) > 0] = symbol
    return found.tolist()


def elements_present(batch: CrystalBatch) -> NDArray[np.bool_]:
    """Return (B, 119), by atomic number, which elements each crystal has."""
    present = np.zeros((batch.n_crystals, MAX_ATOMIC_NUMBER + 1), bool)
    present[np.repeat(np.arange(batch.n_crystals), batch.n_atoms), batch.atomic_numbers] = True
    return present


def _share(batch: CrystalBatch, holds: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the fraction (B,) of each crystal's atoms, at least one, for which `holds` is true."""
    return np.add.reduceat(holds[batch.atomic_numbers], batch.offsets[:-1], dtype=float) / (
        batch.n_atoms
    )
