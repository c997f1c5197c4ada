"""Electrostatic energy of formal charges: a property that is exact, and cheap to compute."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch

DIGITS = 8.0
"""Significant digits to which both sums converge (pymatgen's `acc_factor`)."""
WEIGHT = 2.0
"""Cost of a term in real space, in those of reciprocal space (pymatgen's `w`)."""


def ewald_energies(crystals: CrystalBatch, charges: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return (B,) electrostatic energies in eV/atom of charges (N,), in e, on the atoms.

    They are Ewald sums (pymatgen's `EwaldSummation`); every cell must be neutral.
    """
    from pymatgen.analysis.ewald import EwaldSummation
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.periodic_table import DummySpecies
    from pymatgen.core.structure import Structure

    species = {charge: DummySpecies("X", charge) for charge in np.unique(charges).tolist()}
    energies = np.empty(crystals.n_crystals)
    for index, lattice in enumerate(crystals.lattice):
        atoms = slice(crystals.offsets[index], crystals.offsets[index + 1])
        structure = Structure(
            Lattice(lattice),
            [species[charge] for charge in charges[atoms].tolist()],
            crystals.frac_coords[atoms],
        )
        ewald = EwaldSummation(structure, acc_factor=DIGITS, w=WEIGHT)
        energies[index] = ewald.total_energy / len(structure)
    return energies
