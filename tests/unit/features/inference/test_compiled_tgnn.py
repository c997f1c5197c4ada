"""The form for inference: the plain network's embeddings, whatever the cell, in any company."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry import kernels
from emrl_ray.features.element_properties import default_csv, element_features
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.inference import compiled_tgnn as compiled
from emrl_ray.features.inference import kernels as inference_kernels
from emrl_ray.features.inference import merge_kernels
from emrl_ray.networks.tgnn import TGNN
from tests.support.crystals import ROCK_SALT, random_batch
from tests.support.reference_network import plain_twin

POLONIUM = CrystalBatch(
    3.35 * np.eye(3)[None], np.array([84], np.uint8), np.zeros((1, 3)), np.array([0, 1])
)


def trained_network(cutoff: float, basis: str = "reference", filling: str = "reference") -> TGNN:
    """Return a network in double precision whose batch norm has seen crystals."""
    torch.manual_seed(3)
    network = TGNN(element_features(default_csv(), filling), cutoff, basis).double()
    for norm in (network.pair_norm, network.hidden_norm):
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.3)
    for _ in range(20):
        network(Graphs.from_crystals(random_batch(16, seed=7), cutoff), torch.ones(1, 16))
    return network.eval()


def sheared(batch: CrystalBatch) -> CrystalBatch:
    shear = np.array([[1, 0, 0], [3, 1, 0], [-2, 5, 1]])
    return batch._replace(
        lattice=shear @ batch.lattice, frac_coords=batch.frac_coords @ np.linalg.inv(shear)
    )


def all_kinds() -> CrystalBatch:
    """Return random, skewed, symmetric, one-atom and large crystals."""
    return CrystalBatch.concatenate(
        [
            random_batch(10),
            sheared(random_batch(4, seed=1)),
            ROCK_SALT,
            POLONIUM,
            random_batch(1, seed=2, atoms=(300, 301)),
        ]
    )


@pytest.mark.parametrize("cutoff", [4.0, 5.0, 6.0, 7.0, 8.0])
@pytest.mark.parametrize(("basis", "filling"), [("reference", "reference"), ("uniform", "mean")])
def test_the_fast_path_equals_the_plain_form(cutoff, basis, filling):
    batch, network = all_kinds(), trained_network(cutoff, basis, filling)
    twin = plain_twin(network, element_features(default_csv(), filling), basis).eval()
    with torch.no_grad():
        plain = twin(Graphs.from_crystals(batch, cutoff)).numpy()
    assert np.abs(network.compile().embed(batch) - plain).max() < 1e-5


def test_known_pairs_give_what_searched_ones_give():
    batch, fast = all_kinds(), trained_network(5.0).compile()
    graphs = Graphs.from_crystals(batch, 5.0)
    assert np.array_equal(fast.embed_graphs(graphs), fast.embed(batch))
    fast.threads = 3
    assert np.array_equal(fast.embed_graphs(graphs), fast.embed(batch))


def test_a_crystal_has_the_same_hidden_vector_in_any_company():
    batch, fast = all_kinds(), trained_network(5.0).compile()
    together = fast.embed(batch)
    alone = [fast.embed(batch.take([row])) for row in range(batch.n_crystals)]
    assert np.abs(np.concatenate(alone) - together).max() < 1e-7


def test_threads_and_blocks_change_nothing(monkeypatch):
    batch, fast = all_kinds(), trained_network(5.0).compile()
    expected = fast.embed(batch)
    monkeypatch.setattr(compiled, "CRYSTALS_AT_ONCE", 5)
    for fast.threads in (1, 2, 40):
        assert np.abs(fast.embed(batch) - expected).max() < 1e-7


def test_a_crystal_with_more_pairs_than_memory_was_made_for_is_done_with_more(monkeypatch):
    batch, fast = all_kinds(), trained_network(5.0).compile()
    expected = fast.embed(batch)
    monkeypatch.setattr(compiled, "MIN_ROOM", 3)
    assert np.array_equal(fast.embed(batch), expected)


def test_an_empty_batch_has_no_embeddings():
    empty, fast = random_batch(1).take([]), trained_network(5.0).compile()
    fast.threads = 3
    assert fast.embed(empty).shape == fast.embed_graphs(Graphs.from_crystals(empty, 5.0)).shape
    assert fast.embed(empty).shape == (0, 128)


def test_no_number_that_is_no_element_reaches_the_loops():
    batch, fast = random_batch(2), trained_network(5.0).compile()
    batch.atomic_numbers[0] = 200
    with pytest.raises(ValueError, match=r"^atomic number 200: must be at most 118$"):
        fast.embed(batch)
    with pytest.raises(ValueError, match=r"^atomic number 200"):
        fast.embed_graphs(Graphs.from_crystals(batch, 5.0))


def test_the_cache_of_compiled_loops_knows_all_that_is_compiled_into_them():
    files = (kernels.__file__, merge_kernels.__file__)
    content = b"".join(Path(file).read_bytes() for file in files)
    expected = hashlib.sha256(content).hexdigest()[:16]
    assert expected == inference_kernels.COMPILED_IN
