"""The classical representation: its columns one by one, and that trees learn from it."""

import numpy as np
import pytest
from hypothesis import strategies as st

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import SYMBOLS
from emrl_ray.features.classical_descriptor import (
    CUTOFF,
    FEW_ELEMENTS,
    KNOT_SPACING,
    ClassicalFeatures,
)
from emrl_ray.features.element_properties import default_csv, property_columns
from emrl_ray.features.pairs import find_pairs
from emrl_ray.model.heads.boosted import BoostedHead
from tests.support.crystals import ROCK_SALT, random_batch
from tests.support.examples import examples

FEW = 6
TOLERANCE = 2e-5
"""Two steps of the rounding of the columns."""
COORDINATION = 6 + 12 * np.exp(1 - 2**3)
"""Of rock salt: six neighbours, and a part of the twelve next, which are of the same species."""
seeds = st.integers(0, 10_000)
several = examples(20)


@pytest.fixture(scope="module")
def features() -> ClassicalFeatures:
    """Return the features of few elements, which have both forms of columns."""
    return ClassicalFeatures.fit(random_batch(48, seed=9, elements=FEW))


def column(features: ClassicalFeatures, batch: CrystalBatch, name: str) -> np.ndarray:
    return features.embed(batch)[:, features.names.index(name)]


def test_company_in_the_batch_changes_nothing(features, monkeypatch):
    batch = random_batch(30, seed=3, elements=FEW)
    together = features.embed(batch)
    alone = [features.embed(batch.slice(b, b + 1)) for b in range(30)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    monkeypatch.setattr("emrl_ray.features.classical_descriptor.CRYSTALS_AT_ONCE", 7)
    np.testing.assert_array_equal(together, features.embed(batch))


def test_a_pair_that_crosses_the_cutoff_changes_no_column_abruptly():
    """A simple cubic crystal whose second images lie at the cutoff."""
    cubic = CrystalBatch(
        np.eye(3)[None], np.array([1], np.uint8), np.zeros((1, 3)), np.array([0, 1])
    )
    within, beyond = (
        cubic._replace(lattice=cubic.lattice * (CUTOFF / 2 + step)) for step in (-1e-6, 1e-6)
    )
    assert len(find_pairs(within, CUTOFF).center) > len(find_pairs(beyond, CUTOFF).center)
    features = ClassicalFeatures.fit(cubic)
    np.testing.assert_allclose(features.embed(within), features.embed(beyond), atol=1e-3)


def test_histograms_are_what_a_plain_loop_over_ordered_pairs_gives(features):
    batch = random_batch(5, seed=11, elements=FEW)
    known = property_columns(default_csv())["electronegativity_pauling"]
    electronegativity = np.append(0.0, np.where(np.isnan(known), np.nanmean(known), known))
    expected: dict[str, np.ndarray] = {}
    pairs = find_pairs(batch, CUTOFF)
    for b in range(5):
        for p in range(pairs.offsets[b], pairs.offsets[b + 1]):
            i, j = sorted(batch.atomic_numbers[[pairs.center[p], pairs.neighbor[p]]])
            one, other = electronegativity[[i, j]]
            of_species = f"{SYMBOLS[i - 1]}-{SYMBOLS[j - 1]} pairs"
            for name, weight in (
                ("pairs", 1.0),
                ("electronegativity difference", abs(one - other)),
                ("electronegativity product", one * other),
                (of_species, 1.0),
            ):
                for knot in np.arange(KNOT_SPACING, CUTOFF, KNOT_SPACING):
                    height = max(0.0, 1 - abs(pairs.distance[p] - knot) / KNOT_SPACING)
                    values = expected.setdefault(f"{name} at {knot:g} Å", np.zeros(5))
                    values[b] += weight * height / batch.n_atoms[b]
    assert len(expected) > 40
    for name, values in expected.items():
        np.testing.assert_allclose(
            column(features, batch, name), values, rtol=1e-6, atol=TOLERANCE, err_msg=name
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fraction of Na", 0.5),
        ("volume per atom", 2.8**3),
        ("mean atomic_number", 14.0),
        ("deviation atomic_number", 3.0),
        ("least electronegativity_pauling", 0.93),
        ("most electronegativity_pauling", 3.16),
        ("mean group", (1 + 17) / 2),
        ("mean valence_electrons", (1 + 7) / 2),
        ("mean shortest distance", 2.8),
        ("deviation shortest distance", 0.0),
        ("Na-Cl shortest distance", 2.8),
        ("Na-Na shortest distance", 2.8 * 2**0.5),
        ("least coordination number", COORDINATION),
        ("mean neighbor electronegativity difference", (3.16 - 0.93) * 6 / COORDINATION),
    ],
)
def test_columns_of_rock_salt(name, value):
    features = ClassicalFeatures.fit(ROCK_SALT)
    assert column(features, ROCK_SALT, name)[0] == pytest.approx(value, abs=TOLERANCE)


def test_the_columns_do_not_depend_on_the_batch(features):
    for count in (0, 1, 5):
        batch = random_batch(count, seed=1) if count else ROCK_SALT.slice(0, 0)
        assert features.embed(batch).shape == (count, features.width)
        assert features.embed(batch).dtype == np.float32
    assert len(set(features.names)) == len(features.names) == features.width


def test_species_pairs_have_columns_where_the_elements_are_few():
    few, many = (
        ClassicalFeatures.fit(random_batch(60, elements=1 + count))
        for count in (FEW_ELEMENTS, FEW_ELEMENTS + 1)
    )
    assert len(few.elements) == FEW_ELEMENTS
    assert len(many.elements) == FEW_ELEMENTS + 1
    assert len(few.species) > 0
    assert len(many.species) == 0
    assert set(many.names) - set(few.names) == {"fraction of Cl"}


def test_species_that_training_has_not_change_no_column_of_those_it_has():
    features = ClassicalFeatures.fit(ROCK_SALT)
    with_bromine, with_iodine = (
        CrystalBatch(
            2.8 * 2 * np.eye(3)[None],
            np.array([11, 17, 11, halogen, 11, 17, 11, 17], np.uint8),
            np.array([[a, b, c] for a in (0, 0.5) for b in (0, 0.5) for c in (0, 0.5)]),
            np.array([0, 8]),
        )
        for halogen in (35, 53)
    )
    own = [n for n in features.names if n.startswith(("fraction", "Na", "Cl", "pairs", "volume"))]
    for name in own:
        assert column(features, with_bromine, name) == column(features, with_iodine, name)
    assert column(features, with_iodine, "fraction of Cl")[0] == pytest.approx(3 / 8)


def test_a_crystal_without_a_pair_gets_a_row_of_nan(features):
    lonely = ROCK_SALT._replace(lattice=ROCK_SALT.lattice * 10)
    rows = features.embed(CrystalBatch.concatenate([ROCK_SALT, lonely, ROCK_SALT]))
    assert np.isnan(rows).all(axis=1).tolist() == [False, True, False]
    assert not np.isnan(rows[[0, 2]]).any()


def test_what_is_no_element_or_no_cutoff_is_refused(features):
    with pytest.raises(ValueError, match="atomic number 200"):
        features.embed(ROCK_SALT._replace(atomic_numbers=np.array([11, 200], np.uint8)))
    with pytest.raises(ValueError, match=r"cutoff 1\.0: must be at least"):
        ClassicalFeatures.fit(ROCK_SALT, cutoff=1.0)


def test_trees_learn_64_crystals(features):
    batch = random_batch(64, seed=21, elements=FEW)
    numbers = np.add.reduceat(batch.atomic_numbers.astype(float), batch.offsets[:-1])
    targets = numbers / batch.n_atoms + column(features, batch, "mean shortest distance")
    rows = features.embed(batch)
    head = BoostedHead()
    head.fit(rows, targets)
    assert np.abs(head.predict(rows) - targets).mean() < 0.05 * targets.std()
