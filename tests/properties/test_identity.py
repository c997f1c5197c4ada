"""Identity: a crystal is the same in any cell, and near copies are other crystals."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.trust.changed_crystals import displaced, in_other_cells
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.crystals.matching import matcher as identity
from emrl_ray.crystals.matching.matcher import Fingerprints, StructureIndex, group_duplicates
from emrl_ray.io.parquet import read_table
from tests.support.crystals import random_batch


def look_up(known: CrystalBatch, batch: CrystalBatch) -> list[int]:
    return StructureIndex(known, find_contacts(known)).find(batch, find_contacts(batch)).tolist()


def test_a_crystal_is_found_in_another_cell_with_its_atoms_in_another_order():
    batch = random_batch(16, atoms=(2, 6))
    assert look_up(batch, in_other_cells(batch)) == list(range(16))


def test_coordinates_rounded_to_four_decimals_are_the_same_crystal():
    batch = random_batch(16, seed=2)
    rounded = batch._replace(frac_coords=batch.frac_coords.round(4))
    assert look_up(batch, rounded) == list(range(16))


def test_what_is_not_quite_the_same_is_another_crystal():
    batch = random_batch(12, seed=3)
    moved = displaced(batch, 0.05)
    larger = batch._replace(lattice=batch.lattice * 1.004)
    other = batch._replace(atomic_numbers=batch.atomic_numbers + np.uint8(1))
    for changed in (moved, larger, other):
        assert look_up(batch, changed) == [-1] * 12


def test_a_mirror_image_has_the_same_distances_and_is_taken_for_the_same():
    batch = random_batch(4, seed=4, atoms=(4, 6))
    mirrored = batch._replace(lattice=batch.lattice * np.array([1, 1, -1]))
    assert look_up(batch, mirrored) == list(range(4))


def test_each_group_of_duplicates_is_named_by_its_first():
    batch = random_batch(6, seed=5)
    twice = CrystalBatch.concatenate([batch, in_other_cells(batch), batch.take([3])])
    group = group_duplicates(twice, find_contacts(twice))
    assert group.tolist() == [*range(6), *range(6), 3]


def perovskite(a: float, shifts: list[list[float]]) -> CrystalBatch:
    """Return Ba-Ti-O in cells of a × a × a Å beside each other, with Ti moved along z by `shifts` (x, y), Å."""
    ideal = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    grid = np.array(shifts)
    cells = [ideal.copy() for _ in range(grid.size)]
    for cell, (place, shift) in zip(cells, np.ndenumerate(grid), strict=True):
        cell[1, 2] += shift / a
        cell += [*place, 0]
    size = np.array([*grid.shape, 1])
    numbers = np.tile(np.array([56, 22, 8, 8, 8], np.uint8), grid.size)
    return CrystalBatch(
        a * np.diag(size)[None].astype(float),
        numbers,
        np.concatenate(cells) / size,
        np.array([0, len(numbers)]),
    )


def test_superstructures_of_a_perovskite_are_crystals_of_their_own():
    batch = CrystalBatch.concatenate(
        [
            perovskite(4.05, (np.array(pattern) * shift).tolist())
            for shift in (0.05, 0.1)
            for pattern in ([[1]], [[1], [-1]], [[1, -1], [-1, 1]], [[1], [1], [-1], [-1]])
        ]
    )
    copies = in_other_cells(batch)
    twice = CrystalBatch.concatenate([batch, copies])
    group = group_duplicates(twice, find_contacts(twice))
    assert group.tolist() == [*range(8), *range(8)]


@pytest.mark.parametrize("a", [4.0, 4.0 * 2**0.5, 8.0 / 3**0.5])
def test_a_distance_at_the_reach_of_contacts_does_not_decide(a):
    one, other = perovskite(a, [[0]]), perovskite(a * 1.000002, [[0]])
    assert look_up(one, other) == look_up(other, one) == [0]


def test_equal_rows_need_no_matcher(monkeypatch):
    batch = random_batch(8, seed=6)
    monkeypatch.delattr(identity, "_matcher")
    assert look_up(batch, batch.take([3, 1])) == [3, 1]


def test_a_crystal_is_brought_to_its_smallest_cell_once(monkeypatch):
    one, made = random_batch(1, seed=8), []
    near = displaced(one, 0.0025).take([0, 0, 0])  # contacts alike, another crystal to the matcher
    plain = identity._smallest_cell
    monkeypatch.setattr(
        identity, "_smallest_cell", lambda crystal: made.append(crystal) or plain(crystal)
    )
    assert look_up(near, in_other_cells(one.take([0, 0]))) == [-1, -1]
    assert len(made) == 3 + 2


def test_only_crystals_of_nearly_the_same_volume_are_compared(monkeypatch):
    count, compared = 200, []
    batch = perovskite(4.05, [[0]]).take([0] * count)
    batch = batch._replace(lattice=batch.lattice * np.linspace(1, 1.2, count)[:, None, None])
    plain = Fingerprints.distances
    monkeypatch.setattr(
        Fingerprints,
        "distances",
        lambda self, crystals: compared.append(len(crystals)) or plain(self, crystals),
    )
    assert group_duplicates(batch, find_contacts(batch)).tolist() == list(range(count))
    assert sum(compared) < 3 * count


def test_perovskites_are_found_and_none_of_them_is_taken_for_another(data_dir):
    table = read_table(data_dir / "hoip.parquet")
    batch = CrystalBatch.from_arrow(table)
    assert group_duplicates(batch, find_contacts(batch)).tolist() == list(range(batch.n_crystals))
    some = np.arange(0, batch.n_crystals, 10)
    assert look_up(batch, in_other_cells(batch.take(some))) == some.tolist()
