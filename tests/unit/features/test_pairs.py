"""Pairs and graphs: all neighbours, in both orders, however they are stored and cut."""

import numpy as np
import pyarrow as pa
import pytest

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.graphs import Graphs, table_cutoff
from emrl_ray.features.pairs import filter_cutoff, find_pairs
from tests.support.crystals import random_batch


def sorted_pairs(center, neighbor, distance):
    order = np.lexsort((np.round(distance, 6), neighbor, center))
    return np.asarray(center)[order], np.asarray(neighbor)[order], np.asarray(distance)[order]


def all_pairs(lattice: np.ndarray, coords: np.ndarray, cutoff: float):
    """Return (center, neighbor, distance) by trying every image that can be near enough."""
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    reach = np.ceil(cutoff / heights).astype(int) + 1
    images = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach]), -1).reshape(-1, 3)
    offset = coords[None, :, None] + images[None, None] - coords[:, None, None]
    distance = np.linalg.norm(offset @ lattice, axis=-1)
    near = (distance <= cutoff) & (distance > 1e-8)
    center, neighbor, _ = np.nonzero(near)
    return center, neighbor, distance[near]


@pytest.mark.parametrize("cutoff", [2.5, 5.0, 8.0])
def test_pairs_are_all_that_there_are(cutoff):
    batch = random_batch(8, seed=3, atoms=(1, 7))
    batch = batch._replace(frac_coords=batch.frac_coords % 1.0)
    pairs = find_pairs(batch, cutoff)
    for b in range(batch.n_crystals):
        first, last = batch.offsets[b], batch.offsets[b + 1]
        expected = sorted_pairs(*all_pairs(batch.lattice[b], batch.frac_coords[first:last], cutoff))
        own = slice(pairs.offsets[b], pairs.offsets[b + 1])
        found = sorted_pairs(
            pairs.center[own] - first, pairs.neighbor[own] - first, pairs.distance[own]
        )
        for ours, theirs in zip(found, expected, strict=True):
            assert np.allclose(ours, theirs, atol=1e-9)


def test_second_half_is_the_first_reversed():
    pairs = find_pairs(random_batch(5), 5.0)
    for b in range(5):
        half = pairs.n_pairs[b] // 2
        own = np.arange(pairs.offsets[b], pairs.offsets[b + 1])
        assert np.array_equal(pairs.center[own[:half]], pairs.neighbor[own[half:]])
        assert np.array_equal(pairs.distance[own[:half]], pairs.distance[own[half:]])


def test_an_atom_pairs_with_its_images_but_not_with_itself():
    cubic = CrystalBatch(
        3.0 * np.eye(3)[None], np.array([84], np.uint8), np.zeros((1, 3)), np.array([0, 1])
    )
    pairs = find_pairs(cubic, 4.3)
    assert np.allclose(np.sort(pairs.distance), [3.0] * 6 + [3.0 * np.sqrt(2)] * 12)


def test_shorter_cutoff_keeps_the_shorter_pairs_in_both_orders():
    batch = random_batch(6)
    cut, direct = filter_cutoff(find_pairs(batch, 5.0), 3.5), find_pairs(batch, 3.5)
    assert np.array_equal(cut.offsets, direct.offsets)
    assert np.allclose(np.sort(cut.distance), np.sort(direct.distance))
    assert (cut.n_pairs % 2 == 0).all()


def test_a_pair_exactly_as_long_as_the_cutoff_is_within_it():
    cubic = CrystalBatch(
        4.0 * np.eye(3)[None], np.array([84], np.uint8), np.zeros((1, 3)), np.array([0, 1])
    )
    assert find_pairs(cubic, 4.0).n_pairs.tolist() == [6]
    assert filter_cutoff(find_pairs(cubic, 6.0), 4.0).n_pairs.tolist() == [6]


def test_taking_crystals_equals_their_own_graphs():
    batch = random_batch(7)
    taken = Graphs.from_crystals(batch, 4.0).take([5, 0, 0, 3])
    direct = Graphs.from_crystals(batch.take([5, 0, 0, 3]), 4.0)
    assert np.array_equal(taken.atomic_numbers, direct.atomic_numbers)
    for ours, theirs in zip(taken.pairs, direct.pairs, strict=True):
        assert np.array_equal(ours, theirs)


def graphs_table(cutoff: float) -> tuple[Graphs, pa.Table]:
    graphs = Graphs.from_crystals(random_batch(6), cutoff)
    ids = pa.table({"id": [f"c{row}" for row in range(6)], "band_gap": np.arange(6.0)})
    return graphs, graphs.to_table(cutoff, ids)


def test_graphs_survive_the_table():
    graphs, table = graphs_table(5.0)
    assert table.column_names == [
        "id",
        "band_gap",
        "atomic_numbers",
        "center",
        "neighbor",
        "distance",
    ]
    assert table_cutoff(table.schema) == 5.0
    again = Graphs.from_table(pa.concat_tables([table.slice(0, 2), table.slice(2)]), 5.0)
    assert np.array_equal(again.pairs.center, graphs.pairs.center)
    assert np.array_equal(again.pairs.neighbor, graphs.pairs.neighbor)
    assert np.allclose(again.pairs.distance, graphs.pairs.distance, atol=1e-6)


def test_a_longer_cutoff_serves_a_shorter_one_but_not_the_reverse():
    _, table = graphs_table(5.0)
    shorter = Graphs.from_table(table, 3.0)
    assert shorter.pairs.distance.max() <= 3.0
    with pytest.raises(ValueError, match=r"^--cutoff 6.0: the graphs table has pairs up to 5.0 Å"):
        Graphs.from_table(table, 6.0)


def test_a_table_without_a_cutoff_is_no_graphs_table():
    with pytest.raises(ValueError, match=r"^not a graphs table"):
        table_cutoff(pa.schema([("id", pa.string())]))
