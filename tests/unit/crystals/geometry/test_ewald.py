"""Ewald energies agree with the known Madelung constants."""

import numpy as np
import pytest
from scipy import constants

from emrl_ray.crystals.geometry.ewald import ewald_energies
from emrl_ray.sources.generation.ion_assignments import ion_assignments
from emrl_ray.sources.generation.strained_prototypes import build, generate

COULOMB = constants.e / (4 * np.pi * constants.epsilon_0) * 1e10
"""e²/(4πε₀) in eV Å."""
NEUTRAL = ion_assignments()
NAMES = [prototype.name for prototype in NEUTRAL.prototypes]


@pytest.mark.parametrize(
    ("name", "formula", "atoms", "charges", "madelung"),
    [
        ("rock_salt", "NaCl", 2, (1, 1), 1.7475645946),
        ("cesium_chloride", "CsCl", 2, (1, 1), 1.7626747731),
        ("zinc_blende", "ZnS", 2, (2, 2), 1.6380550534),
        ("wurtzite", "ZnS", 2, (2, 2), 1.6413216),
        ("fluorite", "CaF2", 3, (2, 1), 2.5193924400),
        ("antifluorite", "Na2O", 3, (1, 2), 2.5193924400),
    ],
)
def test_madelung_constants(name, formula, atoms, charges, madelung):
    """E = -M |z₊ z₋| e² / (4πε₀ d) for a formula unit, d the shortest distance."""
    found = (NEUTRAL.prototype == NAMES.index(name)) & (NEUTRAL.formulas == formula)
    row = np.flatnonzero(found)
    crystal = build(NEUTRAL, row, np.zeros((1, 3, 3)))
    shortest = NEUTRAL.prototypes[NAMES.index(name)].shortest_distances()[0, 1]
    distance = NEUTRAL.lattice_constant[row].item() * shortest
    energy = ewald_energies(crystal.crystals, crystal.charges).item() * atoms
    expected = -madelung * abs(charges[0] * charges[1]) * COULOMB / distance
    assert energy == pytest.approx(expected, rel=2e-7)


def test_energies_are_converged_to_a_microelectronvolt():
    from pymatgen.analysis.ewald import EwaldSummation
    from pymatgen.core import Lattice, Species, Structure
    from pymatgen.core.periodic_table import Element

    sample = generate(NEUTRAL, seed=3, strain=0.1, start=0, stop=30)
    crystals, energies = sample.crystals, ewald_energies(sample.crystals, sample.charges)
    for index in range(30):
        atoms = slice(crystals.offsets[index], crystals.offsets[index + 1])
        species = [
            Species(Element.from_Z(int(z)).symbol, int(q))
            for z, q in zip(crystals.atomic_numbers[atoms], sample.charges[atoms], strict=True)
        ]
        structure = Structure(
            Lattice(crystals.lattice[index]), species, crystals.frac_coords[atoms]
        )
        exact = EwaldSummation(structure, acc_factor=14).total_energy / len(structure)
        assert energies[index] == pytest.approx(exact, abs=1e-6)
