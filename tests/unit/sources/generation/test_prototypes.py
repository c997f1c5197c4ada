"""Prototypes are the structure types they are named after; ions fit on them."""

import numpy as np
import pytest
from pymatgen.core import Composition, Element, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from emrl_ray.sources.generation.ion_assignments import FIT, ion_assignments
from emrl_ray.sources.generation.ionic_radii import COORDINATIONS, read_ions
from emrl_ray.sources.generation.prototypes import prototypes

PROTOTYPES = prototypes()
NEUTRAL = ion_assignments()
NAMES = [prototype.name for prototype in PROTOTYPES]


def structure(prototype, elements=("Na", "Mg", "Cl")):
    return Structure(
        Lattice(6 * prototype.cell),
        [elements[kind] for kind in prototype.site_kinds],
        prototype.frac_coords,
    )


def lattice_constant(name, formula):
    found = (NEUTRAL.prototype == NAMES.index(name)) & (NEUTRAL.formulas == formula)
    assert found.sum() == 1
    return NEUTRAL.lattice_constant[found].item()


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=NAMES)
def test_an_unstrained_prototype_has_its_space_group_in_a_primitive_cell(prototype):
    analyzer = SpacegroupAnalyzer(structure(prototype))
    assert analyzer.get_space_group_number() == prototype.space_group
    assert len(analyzer.find_primitive()) == len(prototype.site_kinds)


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=NAMES)
def test_the_sites_of_a_kind_are_equivalent(prototype):
    symmetry = SpacegroupAnalyzer(structure(prototype)).get_symmetry_dataset()
    orbits = symmetry.crystallographic_orbits
    assert len(set(orbits)) == len(prototype.kinds)
    assert all(len(set(orbits[prototype.site_kinds == k])) == 1 for k in range(len(set(orbits))))


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=NAMES)
def test_shortest_distances_are_those_that_pymatgen_finds(prototype):
    crystal, kinds = structure(prototype), prototype.site_kinds
    expected = np.full((len(prototype.kinds),) * 2, np.inf)
    for site, neighbors in enumerate(crystal.get_all_neighbors(7.0)):
        for neighbor in neighbors:
            pair = kinds[site], kinds[neighbor.index]
            expected[pair] = min(expected[pair], neighbor.nn_distance)
    np.testing.assert_allclose(6 * prototype.shortest_distances(), expected, rtol=1e-9)


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=NAMES)
def test_every_ion_has_as_many_neighbours_of_the_other_sign_as_its_coordination(prototype):
    """The first shell reaches to 1.1 × its shortest distance; each counterion kind has its own."""
    crystal, kinds = structure(prototype), prototype.site_kinds
    signs = np.array([kind.sign for kind in prototype.kinds])
    shells = 6.01 * prototype.shortest_distances()
    for site, neighbors in enumerate(crystal.get_all_neighbors(7.0)):
        kind = kinds[site]
        found = [
            other.nn_distance <= 1.1 * shells[kind, kinds[other.index]]
            for other in neighbors
            if signs[kinds[other.index]] != signs[kind]
        ]
        assert sum(found) == prototype.kinds[kind].coordination


@pytest.mark.parametrize(
    ("name", "formula", "measured"),
    [
        ("rock_salt", "NaCl", 5.640),
        ("rock_salt", "MgO", 4.212),
        ("cesium_chloride", "CsCl", 4.123),
        ("zinc_blende", "ZnS", 5.409),
        ("fluorite", "CaF2", 5.463),
        ("antifluorite", "Na2O", 5.55),
        ("rutile", "TiO2", 4.594),
        ("cadmium_iodide", "CdI2", 4.24),
        ("rhenium_trioxide", "WO3", 3.78),
        ("half_heusler", "LiZnAs", 5.94),
        ("perovskite", "SrTiO3", 3.905),
        ("spinel", "MgAl2O4", 8.083),
    ],
)
def test_lattice_constants_from_radii_are_near_the_measured_ones(name, formula, measured):
    tolerance = 0.10 if formula == "LiZnAs" else 0.06  # arsenides are not very ionic
    assert lattice_constant(name, formula) == pytest.approx(measured, rel=tolerance)


def test_every_combination_is_neutral_with_its_formula():
    for index, prototype in enumerate(PROTOTYPES):
        rows = NEUTRAL.prototype == index
        assert rows.any()
        kinds = len(prototype.kinds)
        charges = NEUTRAL.charges[rows, :kinds]
        assert not (charges @ prototype.stoichiometry).any()
        assert (np.sign(charges) == [kind.sign for kind in prototype.kinds]).all()
    for row in range(0, len(NEUTRAL), 97):
        prototype = PROTOTYPES[NEUTRAL.prototype[row]]
        numbers = NEUTRAL.atomic_numbers[row][prototype.site_kinds]
        composition = Composition("".join(Element.from_Z(int(z)).symbol for z in numbers))
        assert composition.reduced_formula == NEUTRAL.formulas[row]


def test_prototype_and_composition_determine_the_combination():
    keys = set(zip(NEUTRAL.prototype.tolist(), NEUTRAL.formulas.tolist(), strict=True))
    assert len(keys) == len(NEUTRAL)


def test_the_most_common_oxidation_states_are_kept():
    row = np.flatnonzero(
        (NEUTRAL.prototype == NAMES.index("spinel")) & (NEUTRAL.formulas == "Fe2CoO4")
    )
    charges = dict(
        zip(NEUTRAL.atomic_numbers[row[0]].tolist(), NEUTRAL.charges[row[0]], strict=True)
    )
    assert (charges[27], charges[26], charges[8]) == (2, 3, -2)


def test_ions_neither_overlap_nor_rattle():
    radii = {(ion.atomic_number, ion.charge): ion for ion in read_ions()}
    for row in range(0, len(NEUTRAL), 53):
        prototype = PROTOTYPES[NEUTRAL.prototype[row]]
        distances = NEUTRAL.lattice_constant[row] * prototype.shortest_distances()
        sizes = np.array(
            [
                radii[z, charge].radius(kind.coordination)
                for kind, z, charge in zip(
                    prototype.kinds, NEUTRAL.atomic_numbers[row], NEUTRAL.charges[row], strict=False
                )
            ]
        )
        signs = np.array([kind.sign for kind in prototype.kinds])
        unlike = signs[:, None] != signs
        ratio = (sizes[:, None] + sizes) / distances
        assert ratio[unlike].max() == pytest.approx(1)
        assert ratio[unlike].min() >= FIT - 1e-9
        assert ratio[~unlike].max() <= 1 / FIT + 1e-9


def test_parts_share_no_composition_and_miss_none():
    first, second = NEUTRAL.part(1, 2), NEUTRAL.part(2, 2)
    assert len(first) + len(second) == len(NEUTRAL)
    assert not set(first.formulas) & set(second.formulas)
    assert 0.45 < len(first) / len(NEUTRAL) < 0.55


def test_radii_are_shannons():
    for ion in read_ions():
        listed = Element(ion.element).data["Shannon radii"]
        shannon = listed.get(str(ion.charge)) if isinstance(listed, dict) else None
        if shannon is None:
            assert ion.element in ("P", "As", "Sb")
            continue
        for coordination, radius in ion.radii.items():
            spins = shannon[{4: "IV", 6: "VI", 8: "VIII", 12: "XII"}[coordination]]
            assert radius in [values["ionic_radius"] for values in spins.values()]


def test_a_radius_grows_with_the_coordination_and_stops_at_the_table_ends():
    for ion in read_ions():
        radii = [ion.radius(coordination) for coordination in (1, *COORDINATIONS, 20)]
        assert radii == sorted(radii)
        assert radii[0] == min(ion.radii.values())
        assert radii[-1] == max(ion.radii.values())
