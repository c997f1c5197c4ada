"""An embedding depends on the crystal, not on how it is written down (property tests)."""

import numpy as np
import pytest
import torch
from crystals_for_tests import random_batch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.elements import default_csv
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.pairs import find_pairs
from emrl_ray.networks import NETWORKS
from emrl_ray.networks.network import Network, NetworkSpec

CUTOFF = 5.0
TOLERANCE = 1e-5
seeds = st.integers(0, 10_000)
several = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request) -> Network:
    torch.manual_seed(4)
    network = NETWORKS[request.param].from_spec(NetworkSpec(CUTOFF), default_csv())
    network.train()
    graphs = network.select(Graphs.from_crystals(random_batch(32, seed=9), CUTOFF))
    network(graphs, torch.ones(1, 32))
    return network.eval()


def crystal(seed: int) -> CrystalBatch:
    """Return a crystal without a pair so near the cutoff that rounding could lose it."""
    batch = random_batch(1, seed, atoms=(1, 6))
    distance = find_pairs(batch, CUTOFF + 1e-5).distance
    assume(np.abs(distance - CUTOFF).min() > 1e-6)
    assume(distance.min() < CUTOFF)
    return batch


def assert_close(one: np.ndarray, other: np.ndarray) -> None:
    """Assert that embeddings agree, up to a part of the largest of their numbers."""
    assert np.abs(one - other).max() < TOLERANCE * max(1.0, np.abs(one).max())


def assert_same(network: Network, one: CrystalBatch, other: CrystalBatch) -> None:
    compiled = network.compile()
    assert_close(compiled.embed(one), compiled.embed(other))
    with torch.no_grad():
        first, second = (
            network(network.select(Graphs.from_crystals(batch, CUTOFF)), torch.ones(1, 1))[0]
            for batch in (one, other)
        )
    assert_close(first.numpy(), second.numpy())


@several
@given(seeds, seeds)
def test_rotation_and_reflection_change_nothing(network, seed, turn):
    batch = crystal(seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(turn).standard_normal((3, 3)))
    assert_same(network, batch, batch._replace(lattice=batch.lattice @ rotation))


@several
@given(seeds, st.tuples(*[st.floats(-3, 3)] * 3))
def test_translation_changes_nothing(network, seed, shift):
    batch = crystal(seed)
    assert_same(network, batch, batch._replace(frac_coords=batch.frac_coords + np.array(shift)))


@several
@given(seeds, seeds)
def test_order_of_the_atoms_changes_nothing(network, seed, turn):
    batch = crystal(seed)
    order = np.random.default_rng(turn).permutation(len(batch.atomic_numbers))
    other = batch._replace(
        atomic_numbers=batch.atomic_numbers[order], frac_coords=batch.frac_coords[order]
    )
    assert_same(network, batch, other)


@several
@given(seeds, st.tuples(*[st.integers(-2, 2)] * 3))
def test_choice_of_cell_changes_nothing(network, seed, steps):
    batch = crystal(seed)
    a, b, c = steps
    change = np.array([[1, a, b], [0, 1, c], [0, 0, 1]])
    other = batch._replace(
        lattice=change @ batch.lattice, frac_coords=batch.frac_coords @ np.linalg.inv(change)
    )
    assert_same(network, batch, other)


@several
@given(seeds)
def test_supercell_changes_nothing(network, seed):
    batch = crystal(seed)
    half = batch.frac_coords * [0.5, 1, 1]
    other = CrystalBatch(
        batch.lattice * np.array([2.0, 1, 1])[:, None],
        np.tile(batch.atomic_numbers, 2),
        np.concatenate([half, half + np.array([0.5, 0, 0])]),
        batch.offsets * 2,
    )
    assert_same(network, batch, other)


@several
@given(seeds, seeds)
def test_company_in_the_batch_changes_nothing(network, seed, other_seed):
    batch = crystal(seed)
    company = random_batch(3, other_seed)
    compiled = network.compile()
    together = compiled.embed(CrystalBatch.concatenate([company, batch, company]))
    assert_close(together[3], compiled.embed(batch)[0])
