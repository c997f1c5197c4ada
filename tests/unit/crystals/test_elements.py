"""Formulas are those of pymatgen and of the Materials Project."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import ATOMIC_NUMBERS, SYMBOLS, reduced_formula


@pytest.mark.parametrize(
    ("atoms", "formula"),
    [
        ("Na Na Cl Cl", "NaCl"),
        ("O O O", "O2"),
        ("Na O Na O", "Na2O2"),
        ("Ca Ca Ca Al Al Ge Ge", "Ca3(AlGe)2"),
        ("Li Fe P O O O O", "LiFePO4"),
        ("H H O", "H2O"),
        ("He Na Na", "Na2He"),
    ],
)
def test_a_formula_is_reduced_and_ordered_by_electronegativity(atoms, formula):
    assert reduced_formula(np.array([ATOMIC_NUMBERS[atom] for atom in atoms.split()])) == formula


def test_every_element_has_the_symbol_and_the_place_in_formulas_of_pymatgen():
    from pymatgen.core import Composition, Element

    assert [Element.from_Z(number).symbol for number in range(1, 119)] == list(SYMBOLS)
    random = np.random.default_rng(0)
    for _ in range(300):
        numbers = random.choice(np.arange(1, 119), random.integers(1, 5), replace=False)
        atoms = np.repeat(numbers, random.integers(1, 7, len(numbers)))
        expected = Composition({SYMBOLS[n - 1]: int(sum(atoms == n)) for n in numbers})
        assert reduced_formula(atoms) == expected.reduced_formula


@pytest.mark.parametrize("name", ["hoip", "mps"])
def test_published_formulas_are_ours(name, data_dir):
    table = pq.read_table(data_dir / f"{name}.parquet")
    batch = CrystalBatch.from_arrow(table)
    bounds = zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    formulas = [reduced_formula(batch.atomic_numbers[start:stop]) for start, stop in bounds]
    assert formulas == table.column("formula").to_pylist()
