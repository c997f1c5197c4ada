"""Perovskites of given elements are neutral, of the right size, and have Goldschmidt's factor."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Species

from emrl_ray.config import UserError
from emrl_ray.crystals.elements import ATOMIC_NUMBERS
from emrl_ray.sources.generation.base import CompositionLimits
from emrl_ray.sources.generation.ionic_radii import shannon_ions
from emrl_ray.sources.generation.perovskites import Perovskites

ALL = CompositionLimits.of(frozenset(), frozenset(), 118, 1000)


def perovskites(a, b, x, tolerance=None, octahedral=None, composable=ALL):
    sites = {
        site: [ATOMIC_NUMBERS[name] for name in names.split()]
        for site, names in (("a", a), ("b", b), ("x", x))
    }
    return Perovskites.of(sites, composable, tolerance, octahedral)


def made(found):
    return found.make(np.arange(found.combinations))


@pytest.mark.parametrize(
    ("formula", "measured"),
    [
        ("Sr Ti O", 3.905),
        ("Ba Ti O", 4.00),
        ("La Al O", 3.79),
        ("K Mg F", 3.989),
        ("Cs Pb Br", 5.87),
        ("Cs Pb I", 6.29),
        ("Cs Sn I", 6.22),
    ],
)
def test_lattice_constants_are_within_two_percent_of_the_measured_ones(formula, measured):
    lattice = made(perovskites(*formula.split())).crystals.lattice
    np.testing.assert_allclose(lattice, [np.eye(3) * measured], rtol=0.02)


def test_the_factors_are_those_of_shannons_radii():
    columns = made(perovskites("Sr", "Ti", "O")).columns
    radii = {
        name: Species(name, charge).get_shannon_radius(cn, radius_type="ionic")
        for name, charge, cn in (("Sr", 2, "XII"), ("Ti", 4, "VI"), ("O", -2, "VI"))
    }
    tolerance = (radii["Sr"] + radii["O"]) / (np.sqrt(2) * (radii["Ti"] + radii["O"]))
    assert columns["tolerance_factor"].to_pylist() == [pytest.approx(tolerance)]
    assert columns["octahedral_factor"].to_pylist() == [pytest.approx(radii["Ti"] / radii["O"])]


def test_only_neutral_ones_of_three_elements_are_made():
    found = made(perovskites("Cs Ba La", "Pb Ti Fe Ba", "I O"))
    assert {len(set(row)) for row in found.crystals.atomic_numbers.reshape(-1, 5).tolist()} == {3}
    assert {"CsPbI3", "BaTiO3", "LaFeO3"} <= set(found.formulas)
    assert not np.add.reduceat(found.charges, found.crystals.offsets[:-1]).any()


def test_the_commonest_states_are_taken():
    found = made(perovskites("La", "Fe", "O"))
    assert found.charges.tolist() == [3, 3, -2, -2, -2]
    assert found.crystals.atomic_numbers.tolist() == [57, 26, 8, 8, 8]


def test_a_choice_of_sites_is_another_perovskite():
    found = made(perovskites("La Y", "La Y", "O"))
    assert sorted(row[:2] for row in found.crystals.atomic_numbers.reshape(-1, 5).tolist()) == [
        [39, 57],
        [57, 39],
    ]


def test_elements_named_twice_count_once():
    assert perovskites("Cs Cs", "Pb", "I I").combinations == 1


def test_ranges_of_the_factors_hold():
    everything = perovskites("Li Na K Rb Cs", "Mg Ca Sr Ge Sn Pb", "F Cl Br I")
    some = perovskites("Li Na K Rb Cs", "Mg Ca Sr Ge Sn Pb", "F Cl Br I", (0.8, 1.0), (0.41, 0.9))
    factors = made(everything).columns
    t, mu = (factors[f"{name}_factor"].to_numpy() for name in ("tolerance", "octahedral"))
    assert some.combinations == ((t >= 0.8) & (t <= 1) & (mu >= 0.41) & (mu <= 0.9)).sum()
    assert 0 < some.combinations < everything.combinations


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        (("Cs", "Pb", "Na"), "--x Na: Shannon lists no anion of it"),
        (("I", "Pb", "Br"), "neutral ABX3"),
        (("He", "Pb", "I"), "--a He: Shannon lists no cation of it"),
        (("Cs", "Zr", "O"), "no neutral ABX3 of three elements is there"),
    ],
)
def test_what_gives_no_perovskite_is_one_clear_line(sites, said):
    with pytest.raises(UserError, match=said):
        perovskites(*sites)


def test_ranges_and_elements_that_leave_none_are_one_clear_line():
    with pytest.raises(UserError, match="leave none of them"):
        perovskites("Cs", "Pb", "I", tolerance=(2.0, 3.0))
    without = CompositionLimits.of(frozenset({82}), frozenset(), 118, 1000)
    with pytest.raises(UserError, match="leave none of them"):
        perovskites("Cs", "Pb", "I", composable=without)


def test_radii_are_those_that_pymatgen_gives_for_shannon():
    compared = 0
    for (_, charge), ion in shannon_ions().items():
        for coordination, radius in ion.radii.items():
            roman = dict(zip((4, 6, 8, 12), ("IV", "VI", "VIII", "XII"), strict=True))
            if coordination not in roman or (ion.element, charge) == ("Sn", 2):
                continue
            found = [
                Species(ion.element, charge).get_shannon_radius(
                    roman[coordination], spin, radius_type="ionic"
                )
                for spin in ("High Spin", "", "Low Spin")
                if spin in ion_entries(ion.element, charge, roman[coordination])
            ]
            assert radius == found[0]
            compared += 1
    assert compared > 300


def ion_entries(element, charge, coordination):
    from pymatgen.core import Element

    return Element(element).data["Shannon radii"][str(charge)][coordination]
