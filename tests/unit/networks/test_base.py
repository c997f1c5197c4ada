"""The factorised network: equal to its plain form, to the published one, and free of frame."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.common.accuracy import published_network
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.element_properties import default_csv, element_features
from emrl_ray.features.graphs import Graphs
from emrl_ray.networks import network_type
from emrl_ray.networks.pair_pooling import pool_pairs
from emrl_ray.networks.tgnn import TGNN
from tests.support.crystals import random_batch
from tests.support.reference_network import plain_twin


def make_network(basis: str = "uniform", filling: str = "mean", seed: int = 0) -> TGNN:
    torch.manual_seed(seed)
    network = TGNN(element_features(default_csv(), filling), 5.0, basis).double()
    for norm in (network.pair_norm, network.hidden_norm):
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.3)
    return network


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: part.grad for name, part in network.named_parameters() if part.requires_grad}


@pytest.mark.parametrize(("basis", "filling"), [("uniform", "mean"), ("reference", "reference")])
def test_factorised_equals_plain_form_in_training_with_gradients(basis, filling):
    graphs = Graphs.from_crystals(random_batch(9), 5.0)
    network = make_network(basis, filling)
    twin = plain_twin(network, element_features(default_csv(), filling), basis)
    ours, plain = network(graphs, torch.ones(1, 9))[0], twin(graphs)
    assert (ours - plain).abs().max() < 1e-12
    weights = torch.randn(ours.shape, dtype=torch.float64)
    (ours * weights).sum().backward()
    (plain * weights).sum().backward()
    expected = gradients(twin)
    for name, gradient in gradients(network).items():
        assert (gradient - expected[name]).abs().max() < 1e-12, name
    for norm in ("pair_norm", "hidden_norm"):
        for statistic in ("running_mean", "running_var"):
            difference = getattr(getattr(network, norm), statistic) - getattr(
                getattr(twin, norm), statistic
            )
            assert difference.abs().max() < 1e-12


def test_passes_with_weights_equal_separate_passes_with_repeats():
    graphs = Graphs.from_crystals(random_batch(6), 5.0)
    network = make_network()
    twin = plain_twin(network, element_features(default_csv(), "mean"), "uniform")
    picks = [[0, 1, 2, 3, 4, 5], [3, 3, 0, 1, 5, 3], [2, 4, 4, 0, 1, 1]]
    weights = torch.stack([torch.bincount(torch.tensor(pick), minlength=6) for pick in picks])
    ours = network(graphs, weights)
    plain = [twin(graphs.take(pick)) for pick in picks]
    noise = torch.randn(ours.shape[0], 6, ours.shape[2], dtype=torch.float64)
    for k, pick in enumerate(picks):
        assert (ours[k][pick] - plain[k]).abs().max() < 1e-12
    sum((ours[k][pick] * noise[k]).sum() for k, pick in enumerate(picks)).backward()
    sum((plain[k] * noise[k]).sum() for k in range(3)).backward()
    expected = gradients(twin)
    for name, gradient in gradients(network).items():
        assert (gradient - expected[name]).abs().max() < 1e-11, name
    assert (network.pair_norm.running_var - twin.pair_norm.running_var).abs().max() < 1e-12


def test_tensor_operations_equal_compiled_loops(monkeypatch):
    graphs = Graphs.from_crystals(random_batch(7), 5.0)
    weights = torch.randint(0, 4, (3, 7)) + torch.eye(3, 7, dtype=torch.int64)
    results = []
    for device in ("cpu", "elsewhere"):
        network = make_network()
        if device == "elsewhere":
            monkeypatch.setattr("emrl_ray.networks.pair_pooling.COMPILED_DEVICE", "none")
        pooled = pool_pairs(network.pair_terms(graphs), network.pair_norm, weights)
        pooled.square().sum().backward()
        results.append((pooled.detach(), gradients(network)))
    (loops, loop_gradients), (tensors, tensor_gradients) = results
    assert (loops - tensors).abs().max() < 1e-12
    for name, gradient in loop_gradients.items():
        if gradient is not None:
            assert (gradient - tensor_gradients[name]).abs().max() < 1e-10, name


def test_threads_do_not_change_the_result():
    graphs = Graphs.from_crystals(random_batch(16), 5.0)
    outputs = []
    for threads in (1, 3):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            network = make_network()
            outputs.append(network(graphs, torch.ones(1, 16)))
        finally:
            torch.set_num_threads(before)
    assert (outputs[0] - outputs[1]).abs().max() < 1e-13


def test_a_crystal_without_a_pair_gets_a_row_of_nan():
    lonely = CrystalBatch(
        12.0 * np.eye(3)[None], np.array([18], np.uint8), np.zeros((1, 3)), np.array([0, 1])
    )
    batch = CrystalBatch.concatenate([random_batch(2), lonely, random_batch(1)])
    embeddings = make_network().eval().compile().embed(batch)
    assert np.isnan(embeddings[2]).all()
    assert np.isfinite(embeddings[[0, 1, 3]]).all()


def test_published_weights_give_the_published_embeddings(data_dir, reference_dir):
    network = published_network(5.0)
    golden = pq.read_table(reference_dir / "emrl_hoip_embeddings.parquet")
    crystals = pq.read_table(data_dir / "hoip.parquet")
    rows = {name: row for row, name in enumerate(crystals["id"].to_pylist())}
    batch = CrystalBatch.from_arrow(crystals).take(
        [rows[name] for name in golden["id"].to_pylist()]
    )
    expected = np.array(golden["embedding"].to_pylist())
    assert expected.shape == (1076, 128)
    with torch.no_grad():
        ours = network(Graphs.from_crystals(batch, 5.0), torch.ones(1, 1076))[0].numpy()
    assert np.abs(ours - expected).max() < 1e-6
    assert np.abs(network.compile().embed(batch) - expected).max() < 1e-5


def test_an_unknown_network_is_one_clear_line():
    with pytest.raises(ValueError, match=r"^--network gnn: choose from tgnn, gcn, "):
        network_type("gnn")
