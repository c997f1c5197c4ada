"""Substitution: likely ions in the places of a known crystal's, neutral, at a volume that fits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from pymatgen.analysis.structure_prediction.substitutor import Substitutor
from pymatgen.core import Composition, Species

from benchmarks.trust.changed_crystals import in_other_cells
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import ATOMIC_NUMBERS, SYMBOLS, reduced_formula
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.sources.generation.base import CompositionLimits
from emrl_ray.sources.generation.oxidation_states import oxidation_states
from emrl_ray.sources.generation.prototypes import prototypes
from emrl_ray.sources.generation.substitution import Substitutions
from emrl_ray.sources.generation.substitution_probabilities import ion_table, replacements

LIMITS = ValidationLimits(1000, 400_000, 5.0, 0.3)
ALL = CompositionLimits.of(frozenset(), frozenset(), 118, 1000)


def crystal(prototype: str, elements: str, length: float) -> CrystalBatch:
    """Return a prototype with elements on its kinds of sites and a lattice constant in Å."""
    kind = next(each for each in prototypes() if each.name == prototype)
    numbers = np.array([ATOMIC_NUMBERS[name] for name in elements.split()], np.uint8)
    return CrystalBatch(
        length * kind.cell[None],
        numbers[kind.site_kinds],
        kind.frac_coords,
        np.array([0, len(kind.site_kinds)]),
    )


PARENTS = {
    "halite": crystal("rock_salt", "Na Cl", 5.64),
    "fluorite": crystal("fluorite", "Ca F", 5.46),
    "tausonite": crystal("perovskite", "Sr Ti O", 3.905),
    "spinel": crystal("spinel", "Mg Al O", 8.08),
    "brass": crystal("cesium_chloride", "Cu Zn", 2.95),
    "tellurium": crystal("zinc_blende", "Cd Te", 6.48),
}


def write(folder, parents=PARENTS):
    batch = CrystalBatch.concatenate(list(parents.values()))
    formulas = [reduced_formula(each.atomic_numbers) for each in parents.values()]
    write_parquet(crystals_table(batch, list(parents), formulas), resolve(folder) / "p.parquet")
    return str(folder)


def substitutions(folder, threshold=1e-3, composable=ALL, parents=PARENTS):
    return Substitutions.of(write(folder, parents), composable, threshold, LIMITS)


def made(found):
    return found.make(np.arange(found.combinations))


@pytest.mark.parametrize(
    "formula",
    [
        "NaCl",
        "CaF2",
        "SrTiO3",
        "MgAl2O4",
        "LiFePO4",
        "Li7La3Zr2O12",
        "CsPbI3",
        "Fe2O3",
        "Ca3Al2Si3O12",
        "TiS2",
        "KNO3",
        "Cu2O",
        "K2PtCl6",
    ],
)
def test_oxidation_states_are_pymatgens_first_guess(formula):
    guess = Composition(formula).oxi_state_guesses(max_sites=-1)[0]
    amounts = Composition(formula).get_el_amt_dict()
    key = tuple((ATOMIC_NUMBERS[name], int(amounts[name])) for name in guess)
    assert oxidation_states(key) == tuple(guess.values())


@pytest.mark.parametrize("formula", [((29, 1), (30, 1)), ((26, 3), (8, 4)), ((18, 1),)])
def test_compositions_without_whole_states_have_none(formula):
    assert oxidation_states(formula) is None


def test_replacements_are_those_of_pymatgens_substitutor():
    """Both keep signs here, as ions of opposite sign hardly replace each other."""
    table, threshold = ion_table(), 0.01
    old = [Species("Na", 1), Species("Cl", -1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Substitutor(threshold=threshold).pred_from_list(old)
    expected = {}
    for each in theirs:
        new = [each["substitutions"][ion] for ion in old]
        keys = [(ion.Z, int(ion.oxi_state)) for ion in new]
        neutral = not sum(charge for _, charge in keys)
        if neutral and keys[0][1] > 0 and new != old and all(key in table.place for key in keys):
            expected[tuple(z for z, _ in keys)] = each["probability"]
    place = [table.place[ion.Z, int(ion.oxi_state)] for ion in old]
    found = replacements(table, place, (1, 1), ALL.elements, threshold)
    ours = dict(
        zip(map(tuple, table.atomic_numbers[found.ions].tolist()), found.probability, strict=True)
    )
    assert ours == pytest.approx(expected)
    assert len(ours) > 5
    assert (np.diff(found.probability) <= 0).all()


def test_every_candidate_is_neutral_and_tells_its_parent(tmp_path):
    found = substitutions(tmp_path)
    all_of_them = made(found)
    assert not np.add.reduceat(all_of_them.charges, all_of_them.crystals.offsets[:-1]).any()
    parents = all_of_them.columns["parent_id"].to_pylist()
    assert set(parents) == {"halite", "fluorite", "tausonite", "spinel"}
    old = {name: reduced_formula(each.atomic_numbers) for name, each in PARENTS.items()}
    for parent, formula in zip(parents, all_of_them.formulas, strict=True):
        before, after = (Composition(text) for text in (old[parent], formula))
        assert sorted(before.values()) == sorted(after.values())
        assert before != after


def test_the_likeliest_of_every_parent_come_first(tmp_path):
    columns = made(substitutions(tmp_path)).columns
    parents, probability = columns["parent_id"].to_pylist(), columns["probability"].to_pylist()
    assert len(set(parents[:4])) == 4
    for parent in set(parents):
        own = [p for p, name in zip(probability, parents, strict=True) if name == parent]
        assert own == sorted(own, reverse=True)
        assert own[-1] >= 1e-3


def test_what_was_replaced_is_told(tmp_path):
    found = made(substitutions(tmp_path, parents={"halite": PARENTS["halite"]}))
    told = dict(zip(found.formulas, found.columns["substitution"].to_pylist(), strict=True))
    assert told["KCl"] == "Na+ > K+"
    assert told["NaBr"] == "Cl- > Br-"


def test_crystals_whose_ions_are_not_known_are_rejects(tmp_path):
    found = substitutions(tmp_path)
    reasons = {reject.id: str(reject.reason) for reject in found.rejects}
    assert reasons == {"brass": "no_oxidation_states", "tellurium": "no_substitution"}
    assert found.parents_read == len(PARENTS)


@pytest.mark.parametrize(
    ("parent", "formula", "measured"),
    [
        ("halite", "KCl", 6.29 / 5.64),
        ("halite", "LiCl", 5.13 / 5.64),
        ("halite", "NaBr", 5.97 / 5.64),
        ("fluorite", "SrF2", 5.80 / 5.46),
        ("tausonite", "BaTiO3", 4.00 / 3.905),
        ("tausonite", "SrZrO3", 4.10 / 3.905),
    ],
)
def test_cells_grow_as_measured_within_three_percent(tmp_path, parent, formula, measured):
    found = made(substitutions(tmp_path, 1e-4, parents={parent: PARENTS[parent]}))
    lattice = found.crystals.lattice[found.formulas.index(formula)]
    volume = np.linalg.det(lattice) / np.linalg.det(PARENTS[parent].lattice[0])
    assert np.cbrt(volume) == pytest.approx(measured, rel=0.03)


def test_sites_and_shape_are_the_parents(tmp_path):
    found = made(substitutions(tmp_path, parents={"spinel": PARENTS["spinel"]}))
    parent = PARENTS["spinel"]
    for row in range(found.crystals.n_crystals):
        own = found.crystals.slice(row, row + 1)
        ratio = own.lattice[0] @ np.linalg.inv(parent.lattice[0])
        np.testing.assert_allclose(ratio, np.eye(3) * ratio[0, 0], atol=1e-12)
        np.testing.assert_array_equal(own.frac_coords, parent.frac_coords)


def test_volume_does_not_depend_on_the_parents_cell(tmp_path):
    others = {name: in_other_cells(each) for name, each in PARENTS.items() if name != "brass"}
    one, two = (
        made(substitutions(tmp_path / n, parents=p)) for n, p in (("a", PARENTS), ("b", others))
    )
    assert one.formulas == two.formulas
    volumes = [
        np.abs(np.linalg.det(each.crystals.lattice)) / each.crystals.n_atoms for each in (one, two)
    ]
    np.testing.assert_allclose(*volumes, rtol=1e-9)


def test_only_the_elements_asked_for_are_used(tmp_path):
    numbers = frozenset(ATOMIC_NUMBERS[name] for name in ("K", "Cl", "Br", "Ba", "F"))
    found = made(
        substitutions(
            tmp_path, composable=CompositionLimits.of(frozenset({35}), numbers, 118, 1000)
        )
    )
    assert {SYMBOLS[z - 1] for z in found.crystals.atomic_numbers} <= {"K", "Cl", "Ba", "F"}
    assert "KCl" in found.formulas
    binary = made(
        substitutions(tmp_path, composable=CompositionLimits.of(frozenset(), frozenset(), 2, 1000))
    )
    assert set(binary.columns["parent_id"].to_pylist()) == {"halite", "fluorite"}


def test_a_higher_threshold_keeps_the_likelier(tmp_path):
    few, many = (substitutions(tmp_path, threshold) for threshold in (0.01, 0.001))
    assert 0 < few.combinations < many.combinations
    assert min(made(few).columns["probability"].to_pylist()) >= 0.01


def test_candidates_are_the_same_whatever_is_made_with_them(tmp_path):
    found = substitutions(tmp_path)
    whole, some = made(found), np.array([1, 5, 17])
    part = found.make(some)
    np.testing.assert_array_equal(part.crystals.lattice, whole.crystals.lattice[some])
    assert part.formulas == [whole.formulas[row] for row in some]
