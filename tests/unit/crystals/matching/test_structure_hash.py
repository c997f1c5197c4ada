"""Structure keys: the same in any cell, order and size, and another for another crystal."""

from __future__ import annotations

import numpy as np

from benchmarks.trust.changed_crystals import displaced, in_other_cells
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.matching.structure_hash import (
    GRID,
    StructureHashes,
    first_of_each,
    shape_numbers,
    structure_hashes,
)
from emrl_ray.sources.generation.prototypes import prototypes
from tests.support.crystals import random_batch


def zinc_sulfide(name: str) -> CrystalBatch:
    """Return ZnS as one of the prototypes."""
    prototype = next(each for each in prototypes() if each.name == name)
    numbers = np.array([30, 16], np.uint8)[prototype.site_kinds]
    return CrystalBatch(
        4.0 * prototype.cell[None], numbers, prototype.frac_coords, np.array([0, len(numbers)])
    )


def test_a_crystal_has_the_same_key_in_another_cell_with_its_atoms_in_another_order():
    batch = random_batch(400, atoms=(1, 9))
    other = in_other_cells(batch)
    assert np.abs(np.log(shape_numbers(batch) / shape_numbers(other))).max() < 1e-12
    np.testing.assert_array_equal(structure_hashes(batch).own, structure_hashes(other).own)


def test_a_crystal_has_the_same_key_turned_mirrored_and_at_another_volume():
    batch = random_batch(50, seed=1)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    changed = batch._replace(lattice=1.3 * batch.lattice @ turn)
    np.testing.assert_array_equal(structure_hashes(batch).own, structure_hashes(changed).own)


def test_another_crystal_has_another_key():
    batch = random_batch(300, seed=2, atoms=(2, 8))
    strained = batch._replace(lattice=batch.lattice @ np.diag([1.00001, 1, 1]))
    elements = batch._replace(atomic_numbers=batch.atomic_numbers + np.uint8(1))
    own = structure_hashes(batch).own
    assert len(np.unique(own)) == 300
    for changed in (displaced(batch, 1e-4), strained, elements):
        assert not np.isin(structure_hashes(changed).own, own).any()


def test_polytypes_with_the_same_nearest_neighbours_differ():
    sphalerite, wurtzite = (shape_numbers(zinc_sulfide(n)) for n in ("zinc_blende", "wurtzite"))
    assert np.abs(np.log(sphalerite / wurtzite)).max() > 1e3 * GRID


def test_which_element_is_on_which_site_counts():
    perovskite = next(each for each in prototypes() if each.name == "perovskite")
    offsets = np.array([0, 5])
    keys = [
        structure_hashes(
            CrystalBatch(
                4.0 * np.eye(3)[None],
                np.array(elements, np.uint8)[perovskite.site_kinds],
                perovskite.frac_coords,
                offsets,
            )
        ).own
        for elements in ((57, 39, 8), (39, 57, 8))
    ]
    assert keys[0] != keys[1]


def test_the_number_of_crystals_in_a_batch_does_not_matter():
    batch = random_batch(5000, seed=3, atoms=(4, 6))
    some = np.array([0, 17, 3000, 4999])
    whole = structure_hashes(batch).own[some]
    np.testing.assert_array_equal(whole, structure_hashes(batch.take(some)).own)


def test_a_crystal_next_to_a_border_of_the_grid_is_found_from_the_other_side():
    batch = random_batch(4000, seed=4, atoms=(2, 4))
    keys = structure_hashes(batch)
    share = len(np.unique(keys.crystal)) / 4000
    assert 0.04 < share < 0.12  # four numbers, two hundredths of a cell of the grid each
    copies = structure_hashes(batch._replace(frac_coords=batch.frac_coords + 1e-12))
    both = StructureHashes(
        np.concatenate([keys.own, copies.own]),
        np.concatenate([keys.second, copies.second]),
        np.concatenate([keys.crystal, copies.crystal + 4000]),
    )
    np.testing.assert_array_equal(first_of_each(both), np.arange(8000) < 4000)


def test_the_first_of_each_key_stays():
    own = np.array([5, 7, 5, 9, 7, 6], np.uint64)
    second, crystal = np.array([9, 1, 5], np.uint64), np.array([0, 1, 5])
    keep = first_of_each(StructureHashes(own, second, crystal))
    # 0 looks at 9, which comes later; 5 looks at 5, which came before
    assert keep.tolist() == [True, True, False, True, False, False]


def test_no_crystals_have_no_keys():
    keys = structure_hashes(random_batch(3).take([]))
    assert not len(keys.own)
    assert not len(first_of_each(keys))
