"""Overlapping sites, against a search of all images."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.neighbor_list import find_overlaps
from tests.support.examples import examples


def batch_of(*crystals):
    """Return a batch of (lattice, fractional coordinates)."""
    sizes = [len(coords) for _, coords in crystals]
    return CrystalBatch(
        np.array([lattice for lattice, _ in crystals], float),
        np.ones(sum(sizes), np.uint8),
        np.concatenate([np.array(coords, float).reshape(-1, 3) for _, coords in crystals]),
        np.concatenate([[0], np.cumsum(sizes)]),
    )


def shortest_distance(lattice, coords, images=6):
    """Return the least distance of two sites, or of a site and its image, by trying all images."""
    shifts = np.array(list(product(range(-images, images + 1), repeat=3)))
    difference = (coords[:, None] - coords[None])[:, :, None] + shifts
    distance = np.linalg.norm(difference @ lattice, axis=-1)
    return distance[distance > 1e-9].min()


@examples(60)
@given(seed=st.integers(0, 2**32 - 1), n_atoms=st.integers(1, 6), scale=st.floats(0.3, 4))
def test_the_closest_sites_are_those_of_a_search_of_all_images(seed, n_atoms, scale):
    random = np.random.default_rng(seed)
    lattice = scale * (np.eye(3) + random.uniform(-0.45, 0.45, (3, 3)))
    if abs(np.linalg.det(lattice)) < 0.2 * scale**3:
        return
    coords = random.uniform(-1, 2, (n_atoms, 3))
    expected = shortest_distance(lattice, coords)
    found = find_overlaps(batch_of((lattice, coords)), 0.5)
    assert [overlap.crystal for overlap in found] == ([0] if expected < 0.5 else [])
    if found:
        assert found[0].distance >= expected - 1e-9
        assert found[0].distance < 0.5


@examples(60)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_skewed_cell_has_the_overlaps_of_the_plain_one(seed):
    random = np.random.default_rng(seed)
    lattice = np.diag(random.uniform(0.5, 3, 3))
    coords = random.uniform(0, 1, (3, 3))
    shear = np.eye(3, dtype=int)
    for _ in range(6):
        row, other = random.permutation(3)[:2]
        shear[row] += random.integers(-3, 4) * shear[other]
    plain = find_overlaps(batch_of((lattice, coords)), 0.4)
    skewed = find_overlaps(batch_of((shear @ lattice, coords @ np.linalg.inv(shear))), 0.4)
    assert bool(plain) == bool(skewed)


def test_an_overlap_names_the_sites_and_their_distance_across_the_boundary():
    lattice = 4 * np.eye(3)
    apart = [[0, 0, 0], [0.5, 0.5, 0.5]]
    close = [[0.5, 0.5, 0.5], [0.01, 0, 0], [0.99, 0, 0]]
    (overlap,) = find_overlaps(batch_of((lattice, apart), (lattice, close)), 0.3)
    assert overlap[:3] == (1, 1, 2)
    assert overlap.distance == pytest.approx(0.08)


def test_a_site_overlaps_its_own_image_in_a_tiny_cell():
    ((crystal, first, second, distance),) = find_overlaps(
        batch_of((0.2 * np.eye(3), [[0.3, 0.3, 0.3]])), 0.3
    )
    assert (crystal, first, second) == (0, 0, 0)
    assert distance == pytest.approx(0.2)


def test_an_empty_batch_has_no_overlaps():
    assert find_overlaps(batch_of((np.eye(3), np.zeros((0, 3)))), 0.3) == []
