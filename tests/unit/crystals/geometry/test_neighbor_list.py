"""The pairs of sites within a distance: the same as pymatgen's, in any cell."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.optimization.neighbors import find_points_in_spheres

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry import neighbor_list as neighbors
from emrl_ray.crystals.geometry.lattice import compact_cells, plane_spacings, reduced_lattice
from emrl_ray.crystals.geometry.neighbor_list import unordered_pairs
from emrl_ray.crystals.schema import GEOMETRY
from tests.support.crystals import random_batch
from tests.support.examples import examples


def crystal_of(lattice: np.ndarray, coords: np.ndarray) -> CrystalBatch:
    numbers = np.ones(len(coords), np.uint8)
    return CrystalBatch(
        np.asarray(lattice)[None], numbers, np.asarray(coords, float), np.array([0, len(coords)])
    )


def by_pymatgen(batch: CrystalBatch, cutoff: float) -> list[np.ndarray]:
    """Return, for each crystal, the sorted rows (first, second, distance) with first ≤ second."""
    found = []
    for b in range(batch.n_crystals):
        lattice = np.ascontiguousarray(batch.lattice[b])
        coords = batch.frac_coords[batch.offsets[b] : batch.offsets[b + 1]]
        points = (coords - np.floor(coords)) @ lattice
        i, j, _, distance = find_points_in_spheres(
            points, points, cutoff, np.ones(3, np.int64), lattice, 1e-8
        )
        keep = (i <= j) & (distance > 1e-8)
        rows = np.stack([i[keep], j[keep], distance[keep]], axis=1)
        rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
        own = rows[:, 0] == rows[:, 1]  # each image of a site in both directions: every second one
        found.append(rows[~own | (np.cumsum(own) % 2 == 1)])
    return found


def by_ours(batch: CrystalBatch, cutoff: float) -> list[np.ndarray]:
    pairs = unordered_pairs(batch, cutoff)
    found = []
    for b in range(batch.n_crystals):
        own = slice(pairs.bounds[b], pairs.bounds[b + 1])
        sites = np.sort([pairs.first[own], pairs.second[own]], axis=0) - batch.offsets[b]
        rows = np.stack([*sites, pairs.distance[own]], axis=1)
        found.append(rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))])
    return found


def assert_same_pairs(batch: CrystalBatch, cutoff: float) -> None:
    for ours, theirs in zip(by_ours(batch, cutoff), by_pymatgen(batch, cutoff), strict=True):
        assert ours.shape == theirs.shape
        assert np.allclose(np.sort(ours[:, 2]), np.sort(theirs[:, 2]), atol=1e-9)
        assert np.array_equal(ours[:, :2], theirs[:, :2])


@examples(80)
@given(
    seed=st.integers(0, 2**32 - 1),
    atoms=st.integers(1, 40),
    volume=st.floats(3, 60),
    stretch=st.floats(0.2, 5),
    cutoff=st.floats(1.5, 8),
)
def test_pairs_of_any_cell_are_those_of_pymatgen(seed, atoms, volume, stretch, cutoff):
    random = np.random.default_rng(seed)
    lattice = np.eye(3) + random.uniform(-0.4, 0.4, (3, 3))
    lattice[2] *= stretch
    lattice *= (volume * atoms / abs(np.linalg.det(lattice))) ** (1 / 3)
    assert_same_pairs(crystal_of(lattice, random.uniform(-1, 2, (atoms, 3))), cutoff)


@examples(40)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_skewed_cell_has_the_distances_of_the_plain_one(seed):
    random = np.random.default_rng(seed)
    plain = crystal_of(np.diag(random.uniform(2, 6, 3)), random.uniform(0, 1, (4, 3)))
    shear = np.eye(3)
    for _ in range(8):
        row, other = random.permutation(3)[:2]
        shear[row] += random.integers(-3, 4) * shear[other]
    skewed = crystal_of(shear @ plain.lattice[0], plain.frac_coords @ np.linalg.inv(shear))
    expected, found = unordered_pairs(plain, 5.0), unordered_pairs(skewed, 5.0)
    assert np.allclose(np.sort(found.distance), np.sort(expected.distance), atol=1e-6)


@pytest.mark.parametrize(
    "lattice",
    [
        4.0 * np.eye(3),
        2.0 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]),
        np.array([[3.0, 0, 0], [-1.5, 1.5 * 3**0.5, 0], [0, 0, 5.0]]),
    ],
    ids=["cubic", "face-centred", "hexagonal"],
)
def test_pairs_at_the_cutoff_itself_count(lattice):
    """High symmetry puts many pairs at one distance: none is lost to rounding."""
    batch = crystal_of(lattice, np.array([[0, 0, 0], [0.5, 0.5, 0.5], [1 / 3, 2 / 3, 0.25]]))
    for cutoff in np.unique(np.round(unordered_pairs(batch, 8.0).distance, 9)):
        assert_same_pairs(batch, float(cutoff))


def test_a_large_cell_has_the_pairs_of_pymatgen():
    random = np.random.default_rng(5)
    assert_same_pairs(crystal_of(22.0 * np.eye(3), random.random((688, 3))), 5.0)


def test_pairs_that_need_more_memory_than_was_expected_are_all_found(monkeypatch):
    batch = random_batch(20)
    expected = unordered_pairs(batch, 5.0)
    monkeypatch.setattr(neighbors, "expected_pairs", lambda *_: np.zeros(20))
    monkeypatch.setattr(neighbors, "SPARE", 10)
    for ours, theirs in zip(unordered_pairs(batch, 5.0), expected, strict=True):
        assert np.array_equal(ours, theirs)


def test_an_empty_batch_and_an_empty_crystal_have_no_pairs():
    for batch in (random_batch(2).take([]), crystal_of(np.eye(3), np.zeros((0, 3)))):
        pairs = unordered_pairs(batch, 5.0)
        assert len(pairs.distance) == 0
        assert pairs.bounds.tolist() == [0] * (batch.n_crystals + 1)


@pytest.mark.parametrize(("name", "rows"), [("hoip", 1345), ("candidates", 1500)])
def test_pairs_of_real_crystals_are_those_of_pymatgen(data_dir, name, rows):
    table = pq.read_table(data_dir / f"{name}.parquet", columns=list(GEOMETRY))
    rows = np.random.default_rng(0).permutation(table.num_rows)[:rows]
    assert_same_pairs(CrystalBatch.from_arrow(table.take(rows)), 5.0)


def test_a_reduced_basis_has_the_lengths_of_the_plain_one():
    random = np.random.default_rng(1)
    for _ in range(30):
        lattice = np.diag(random.uniform(0.5, 3, 3))
        shear = np.eye(3, dtype=int)
        for _ in range(6):
            row, other = random.permutation(3)[:2]
            shear[row] += random.integers(-3, 4) * shear[other]
        lengths = np.linalg.norm(reduced_lattice(shear @ lattice), axis=1)
        np.testing.assert_allclose(sorted(lengths), sorted(np.diag(lattice)), rtol=1e-6)


def test_three_coplanar_vectors_at_120_degrees_are_reduced():
    flat = np.array([[1, 0, 0], [-0.5, 3**0.5 / 2, 0], [-0.5, -(3**0.5) / 2, 0.1]])
    assert np.linalg.norm(reduced_lattice(flat)[0]) == pytest.approx(0.1)


def test_only_skewed_cells_are_changed_and_their_sites_stay_in_place():
    plain = random_batch(3)
    shear = np.array([[1, 0, 0], [7, 1, 0], [0, 5, 1]])
    skewed = CrystalBatch(
        np.concatenate([plain.lattice[:2], (shear @ plain.lattice[2])[None]]),
        plain.atomic_numbers,
        plain.frac_coords,
        plain.offsets,
    )
    compact = compact_cells(skewed)
    assert np.array_equal(compact.lattice[:2], skewed.lattice[:2])
    assert plane_spacings(compact.lattice)[2].min() > plane_spacings(skewed.lattice)[2].min()
    for batch in (skewed, compact):
        sites = batch.frac_coords[plain.offsets[2] :] @ batch.lattice[2]
        np.testing.assert_allclose(
            sites, skewed.frac_coords[plain.offsets[2] :] @ skewed.lattice[2], atol=1e-9
        )
