"""Contacts: the least distance of each two elements, whatever the cell."""

from __future__ import annotations

import numpy as np

from benchmarks.trust.changed_crystals import in_other_cells
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import CODES, REACH, elements_of, find_contacts
from emrl_ray.crystals.geometry.neighbor_list import unordered_pairs
from tests.support.crystals import ROCK_SALT, random_batch


def test_rock_salt_has_three_contacts():
    found = find_contacts(ROCK_SALT)
    assert [elements_of(int(pair)) for pair in found.pair] == [(11, 11), (11, 17), (17, 17)]
    np.testing.assert_allclose(found.distance, [2.8 * 2**0.5, 2.8, 2.8 * 2**0.5])
    assert found.offsets.tolist() == [0, 3]


def test_contacts_are_the_least_distances_of_the_pairs():
    batch = random_batch(40, elements=12)
    found = find_contacts(batch)
    pairs = unordered_pairs(batch, REACH)
    for crystal in range(batch.n_crystals):
        expected: dict[int, float] = {}
        for place in range(pairs.bounds[crystal], pairs.bounds[crystal + 1]):
            low, high = sorted(
                int(batch.atomic_numbers[end[place]]) for end in (pairs.first, pairs.second)
            )
            code = low * CODES + high
            expected[code] = min(expected.get(code, np.inf), float(pairs.distance[place]))
        own = slice(*found.offsets[crystal : crystal + 2])
        assert (
            dict(zip(found.pair[own].tolist(), found.distance[own].tolist(), strict=True))
            == expected
        )
        assert found.pair[own].tolist() == sorted(expected)


def test_contacts_do_not_depend_on_cell_origin_or_order_of_atoms():
    batch = random_batch(12, seed=1)
    one, other = find_contacts(batch), find_contacts(in_other_cells(batch))
    assert one.pair.tolist() == other.pair.tolist()
    np.testing.assert_allclose(one.distance, other.distance, rtol=1e-9)


def test_no_crystals_and_lonely_atoms_have_no_contacts():
    assert find_contacts(random_batch(3).slice(0, 0)).offsets.tolist() == [0]
    lonely = CrystalBatch(
        9 * np.eye(3)[None], np.array([2], np.uint8), np.zeros((1, 3)), np.array([0, 1])
    )
    assert find_contacts(lonely).offsets.tolist() == [0, 0]
