"""An embedding depends on the crystal, not on how it is written down (property tests)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.classical_descriptor import DECIMALS, ClassicalFeatures
from emrl_ray.features.element_properties import default_csv
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.pairs import find_pairs
from emrl_ray.networks import NETWORKS
from emrl_ray.networks.base import NetworkSpec
from tests.support.crystals import random_batch
from tests.support.examples import examples

seeds = st.integers(0, 10_000)
several = examples(15)


class Case(NamedTuple):
    """A representation in each form that it has."""

    forms: list[Callable[[CrystalBatch], np.ndarray]]
    cutoff: float
    elements: int
    """Highest atomic number of the crystals that it is tried on."""
    tolerance: float
    """Of a number, as a part of the largest of its crystal where that is above 1."""


def network_case(name: str) -> Case:
    """Return a network with running statistics, compiled and as it is trained."""
    torch.manual_seed(4)
    cutoff = 5.0
    network = NETWORKS[name].from_spec(NetworkSpec(cutoff), default_csv())
    network.train()
    graphs = network.select(Graphs.from_crystals(random_batch(32, seed=9), cutoff))
    network(graphs, torch.ones(1, 32))
    network.eval()

    def as_trained(batch: CrystalBatch) -> np.ndarray:
        graphs = network.select(Graphs.from_crystals(batch, cutoff))
        with torch.no_grad():
            return network(graphs, torch.ones(1, batch.n_crystals))[0].numpy()

    return Case([network.compile().embed, as_trained], cutoff, 60, 1e-5)


@pytest.fixture(scope="module", params=[*NETWORKS, "classical"])
def case(request) -> Case:
    if request.param != "classical":
        return network_case(request.param)
    features = ClassicalFeatures.fit(random_batch(48, seed=9, elements=6))
    return Case([features.embed], features.cutoff, 6, 2 * 10**-DECIMALS)


def crystal(case: Case, seed: int) -> CrystalBatch:
    """Return a crystal without a pair so near the cutoff that rounding could lose it."""
    batch = random_batch(1, seed, atoms=(1, 6), elements=case.elements)
    distance = find_pairs(batch, case.cutoff + 1e-5).distance
    assume(np.abs(distance - case.cutoff).min() > 1e-6)
    assume(distance.min() < case.cutoff)
    return batch


def assert_close(case: Case, one: np.ndarray, other: np.ndarray) -> None:
    assert np.abs(one - other).max() < case.tolerance * max(1.0, np.abs(one).max())


def assert_same(case: Case, one: CrystalBatch, other: CrystalBatch) -> None:
    for embed in case.forms:
        assert_close(case, embed(one), embed(other))


@several
@given(seeds, seeds)
def test_rotation_and_reflection_change_nothing(case, seed, turn):
    batch = crystal(case, seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(turn).standard_normal((3, 3)))
    assert_same(case, batch, batch._replace(lattice=batch.lattice @ rotation))


@several
@given(seeds, st.tuples(*[st.floats(-3, 3)] * 3))
def test_translation_changes_nothing(case, seed, shift):
    batch = crystal(case, seed)
    assert_same(case, batch, batch._replace(frac_coords=batch.frac_coords + np.array(shift)))


@several
@given(seeds, seeds)
def test_order_of_the_atoms_changes_nothing(case, seed, turn):
    batch = crystal(case, seed)
    order = np.random.default_rng(turn).permutation(len(batch.atomic_numbers))
    other = batch._replace(
        atomic_numbers=batch.atomic_numbers[order], frac_coords=batch.frac_coords[order]
    )
    assert_same(case, batch, other)


@several
@given(seeds, st.tuples(*[st.integers(-2, 2)] * 3))
def test_choice_of_cell_changes_nothing(case, seed, steps):
    batch = crystal(case, seed)
    a, b, c = steps
    change = np.array([[1, a, b], [0, 1, c], [0, 0, 1]])
    other = batch._replace(
        lattice=change @ batch.lattice, frac_coords=batch.frac_coords @ np.linalg.inv(change)
    )
    assert_same(case, batch, other)


@several
@given(seeds)
def test_supercell_changes_nothing(case, seed):
    batch = crystal(case, seed)
    half = batch.frac_coords * [0.5, 1, 1]
    other = CrystalBatch(
        batch.lattice * np.array([2.0, 1, 1])[:, None],
        np.tile(batch.atomic_numbers, 2),
        np.concatenate([half, half + np.array([0.5, 0, 0])]),
        batch.offsets * 2,
    )
    assert_same(case, batch, other)


@several
@given(seeds, seeds)
def test_company_in_the_batch_changes_nothing(case, seed, other_seed):
    batch = crystal(case, seed)
    company = random_batch(3, other_seed, elements=case.elements)
    for embed in case.forms:
        together = embed(CrystalBatch.concatenate([company, batch, company]))
        assert_close(case, together[3], embed(batch)[0])
