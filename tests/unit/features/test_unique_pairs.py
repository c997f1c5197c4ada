"""Distinct pairs: each once, with how often it occurs, and nothing lost."""

from collections import Counter

import numpy as np

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.pairs import Pairs
from emrl_ray.features.unique_pairs import unique_pairs
from tests.support.crystals import ROCK_SALT, random_batch


def counted(graphs: Graphs, crystal: int) -> Counter:
    """Return the ordered pairs of a crystal by (elements in order of Z, distance to 1e-6 Å)."""
    pairs = graphs.pairs
    found: Counter = Counter()
    for pair in range(pairs.offsets[crystal], pairs.offsets[crystal + 1]):
        numbers = graphs.atomic_numbers[[pairs.center[pair], pairs.neighbor[pair]]]
        found[(*sorted(numbers.tolist()), round(float(pairs.distance[pair]), 5))] += 1
    return found


def test_distinct_pairs_count_every_pair():
    batch = CrystalBatch.concatenate([ROCK_SALT, random_batch(4), ROCK_SALT])
    graphs = Graphs.from_crystals(batch, 5.0)
    merged = unique_pairs(graphs)
    for crystal in range(batch.n_crystals):
        own = slice(merged.bounds[crystal], merged.bounds[crystal + 1])
        found: Counter = Counter()
        for first, second, distance, times in zip(
            *(part[own].tolist() for part in merged[:4]), strict=True
        ):
            found[(*sorted((first, second)), round(distance, 5))] += 2 * int(times)
        assert found == counted(graphs, crystal)


def test_a_symmetric_crystal_has_few_distinct_pairs():
    merged = unique_pairs(Graphs.from_crystals(ROCK_SALT, 5.0))
    shells = sorted(zip(merged.distance.round(6).tolist(), merged.times.tolist(), strict=True))
    # Na-Cl at a/2, a sqrt(3)/2; Na-Na and Cl-Cl at a/sqrt(2): 6 + 8, 12 neighbours an ion
    assert shells == [(2.8, 6), (3.959798, 6), (3.959798, 6), (4.849742, 8)]


def test_pairs_of_other_elements_or_distance_stay_apart():
    numbers = np.array([11, 17, 11], np.uint8)
    half = [(0, 1, 2.0), (0, 1, 3.0), (1, 2, 2.0 + 1e-9), (0, 2, 2.0), (2, 1, 2.00001)]
    center, neighbor, distance = (np.array(part) for part in zip(*half, strict=True))
    pairs = Pairs(
        np.concatenate([center, neighbor]).astype(np.int32),
        np.concatenate([neighbor, center]).astype(np.int32),
        np.concatenate([distance, distance]),
        np.array([0, 10]),
    )
    merged = unique_pairs(Graphs(numbers, np.array([0, 3]), pairs))
    found = sorted(zip(*(part.tolist() for part in merged[:4]), strict=True))
    assert found == [
        (11, 11, 2.0, 1.0),
        (11, 17, 2.0, 2.0),
        (11, 17, 2.00001, 1.0),
        (11, 17, 3.0, 1.0),
    ]


def test_crystals_without_pairs_have_none():
    empty = unique_pairs(Graphs.from_crystals(random_batch(1).take([]), 5.0))
    assert empty.bounds.tolist() == [0]
    lonely = CrystalBatch(
        12.0 * np.eye(3)[None], np.array([18], np.uint8), np.zeros((1, 3)), np.array([0, 1])
    )
    merged = unique_pairs(Graphs.from_crystals(lonely, 5.0))
    assert merged.bounds.tolist() == [0, 0]
    assert len(merged.times) == 0
