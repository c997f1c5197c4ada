"""What the benchmarks compare with is right, and an interrupted run keeps its results."""

import copy
import json

import numpy as np
import pytest
import torch
from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter
from torch import nn

from benchmarks.common import peer_training, peers, published
from benchmarks.common.pages import put_between
from benchmarks.common.plain_network import PlainTGNN
from benchmarks.common.samples import representative
from benchmarks.common.timing import Ratio, Results, Stopwatch, Timing, Work, alternate, marginal
from benchmarks.growth import run as growth
from benchmarks.methods import peer_accuracy
from benchmarks.speed import library as library_benchmark
from emrl_ray.config import OptimizationConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.features.distance_basis import gaussian_basis
from emrl_ray.features.element_properties import default_csv, element_features
from emrl_ray.features.graphs import Graphs
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.networks.cgcnn import CGCNN
from emrl_ray.networks.layers.collectives import SingleProcess
from emrl_ray.networks.tgnn import TGNN
from emrl_ray.training.losses import draw_triplets
from emrl_ray.training.trainer import Shard, Trainer
from tests.support.crystals import random_batch

pytestmark = pytest.mark.filterwarnings("ignore:No Pauling electronegativity")
CUTOFF = 5.0
COUNT = 6
ELEMENTS = element_features(default_csv(), "reference")
BASIS = gaussian_basis("reference", CUTOFF)


@pytest.fixture(scope="module")
def batch() -> CrystalBatch:
    return random_batch(COUNT, seed=3)


@pytest.fixture(scope="module")
def cifs(batch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifs")
    for index in range(COUNT):
        crystal = batch.take([index])
        structure = Structure(
            crystal.lattice[0], crystal.atomic_numbers.tolist(), crystal.frac_coords
        )
        (folder / f"{index}.cif").write_text(str(CifWriter(structure, significant_figures=14)))
    return [folder / f"{index}.cif" for index in range(COUNT)]


@pytest.fixture(scope="module")
def rows(cifs):
    structures = [published.read_structure(cif) for cif in cifs]
    return [
        published.write_features(one, published.find_neighbors(one, CUTOFF), ELEMENTS, BASIS)
        for one in structures
    ]


def make_networks() -> tuple[TGNN, PlainTGNN]:
    torch.manual_seed(1)
    network = TGNN(ELEMENTS, CUTOFF, "reference")
    plain = PlainTGNN(ELEMENTS.shape[1], len(BASIS.centers))
    for norm in (network.pair_norm, network.hidden_norm):
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.5, 1.5)
    plain.load_state_dict(network.state_dict(), strict=False)
    return network, plain


def test_the_published_way_gives_our_embeddings(batch, rows):
    network, plain = make_networks()
    ours = network.eval().compile().embed(batch)
    assert np.abs(published.embed(plain, rows).numpy() - ours).max() < 1e-5


def test_the_published_way_predicts_as_the_head_does_and_times_its_stages(cifs, rows):
    plain, watch = make_networks()[1], Stopwatch()
    predictions = published.predict_files(
        cifs, CUTOFF, ELEMENTS, BASIS, plain, lambda embeddings: embeddings.sum(axis=1), watch
    )
    expected = published.embed(plain, rows).numpy().sum(axis=1)
    assert np.abs(predictions - expected).max() < 1e-6
    assert list(watch.seconds) == [
        *(published.READ, published.NEIGHBORS, published.FEATURES),
        *(published.EMBED, published.HEAD),
    ]


def test_the_head_is_called_for_32_rows_at_a_time():
    sizes = []
    published.predict(lambda rows: sizes.append(len(rows)) or rows[:, 0], np.zeros((70, 2)))
    assert sizes == [32, 32, 6]


def test_the_dense_step_is_our_exact_one(batch, rows):
    network, plain = make_networks()
    targets = torch.rand(COUNT, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    triplets = draw_triplets(targets, torch.Generator().manual_seed(3))
    network, plain = network.double().train(), plain.double().train()
    options = OptimizationConfig(
        batch_size=COUNT,
        learning_rate=1e-3,
        l2=0.0,
        margin=0.0,
        batch_norm="three_pass",
        precision="float64",
    )
    shard = Shard(Graphs.from_crystals(batch, CUTOFF), targets.numpy(), 0)
    trainer = Trainer(network, shard, options, SingleProcess())
    ours = trainer.batch_loss(np.arange(COUNT), triplets)
    exact = [row._replace(rows=row.rows.double()) for row in rows]
    theirs = published.triplet_loss(plain, exact, targets, triplets, 0.0)
    assert abs(ours.item() - theirs.item()) < 1e-5
    ours.backward()
    theirs.backward()
    gradients = dict(plain.named_parameters())
    for name, part in network.named_parameters():
        if part.requires_grad:
            scale = gradients[name].grad.abs().max()
            assert (part.grad - gradients[name].grad).abs().max() < 1e-4 * scale + 1e-6, name


def test_a_training_step_lowers_the_loss(rows):
    plain = make_networks()[1]
    optimizer = torch.optim.Adam(plain.parameters(), 1e-3)
    targets = torch.linspace(0, 1, COUNT)
    triplets = draw_triplets(targets, torch.Generator().manual_seed(3))
    losses = [
        published.training_step(plain, optimizer, rows, targets, triplets, 0.0) for _ in range(10)
    ]
    assert losses[-1] < 0.9 * losses[0]


def test_the_other_network_reads_the_twelve_nearest_neighbours(cifs):
    structure, graph = Structure.from_file(cifs[0]), peers.read_graph(cifs[0])
    for atom, around in enumerate(structure.get_all_neighbors(peers.RADIUS)):
        nearest = sorted(neighbor.nn_distance for neighbor in around)[: peers.NEIGHBORS]
        found = graph.distance[graph.edge_index[1] == atom]
        assert np.abs(found.sort().values.numpy() - nearest).max() < 1e-5
    assert peers.predict_files(peers.CGCNN(), cifs).shape == (COUNT,)


def test_a_network_of_others_is_trained_as_ours_are(batch):
    graphs, targets = Graphs.from_crystals(batch, CUTOFF), np.linspace(-2.0, 1.0, COUNT)
    options = OptimizationConfig(
        loss="l1", epochs=3, batch_size=3, learning_rate=0.01, l2=1e-3, margin=0.0, seed=4
    )
    network = CGCNN.from_spec(NetworkSpec(width=8, cutoff=CUTOFF), default_csv())
    trainer = Trainer(
        network,
        Shard(network.select(graphs), targets, 0),
        options,
        SingleProcess(),
    )
    other = _AsOfOthers(copy.deepcopy(trainer.network), copy.deepcopy(trainer.readout))
    trainer.run(lambda _: None)
    rows = np.arange(COUNT)
    budget = peer_training.Budget(
        *(getattr(options, name) for name in peer_training.Budget._fields)
    )

    def inputs(chosen):
        return other.network.select(graphs.take(chosen)), torch.ones(1, len(chosen))

    normal = peer_training.train(other, inputs, rows, targets, budget)
    found = peer_training.predict(other, inputs, rows, normal, at_once=4)
    with torch.no_grad():
        embeddings = trainer.network.eval()(*inputs(rows))[0].double().numpy()
    slope, intercept = trainer.trained([]).readout
    np.testing.assert_allclose(found, embeddings @ slope + intercept, rtol=1e-4)


class _AsOfOthers(nn.Module):
    def __init__(self, network, readout):
        super().__init__()
        self.network, self.readout = network, readout

    def forward(self, graphs, weights):
        vectors = self.network(graphs, weights)[0]
        return self.readout(vectors), vectors


def test_the_ratio_is_that_of_the_mean_errors():
    runs = [{"mae": {"emrl_ray": 1.0, "cgcnn2": 2.0}}, {"mae": {"emrl_ray": 5.0, "cgcnn2": 3.0}}]
    assert peer_accuracy.summary(runs) == {"mae": {"emrl_ray": 3.0, "cgcnn2": 2.5}, "ratio": 1.2}


def test_works_take_turns(monkeypatch):
    monkeypatch.setattr("benchmarks.common.timing.MIN_SECONDS", 1e-9)  # a call a round
    calls = []
    works = {
        "a": Work(lambda: calls.append("a") or {"one": 0.1, "two": 0.3}, 2),
        "b": Work(lambda: calls.append("b") or {"one": 0.2}, 1),
    }
    timings = alternate(works, rounds=2)
    assert "".join(calls) == "ab" + "abab"
    assert [len(timing.rounds) for timing in timings.values()] == [2] * 5
    assert timings["a: two"].median == pytest.approx(0.3 / 2 * 1e6)
    assert timings["a"].median == pytest.approx(0.4 / 2 * 1e6)
    ratio = Ratio.of(timings["a"], timings["b"])
    assert ratio == pytest.approx((1.0, 1.0, 1.0))


def test_the_start_falls_out_of_the_cost_of_a_further_crystal():
    start, each = 1e6, 100.0
    timings = [Timing([start / count + each], count) for count in (1000, 200)]
    assert marginal(*timings).median == pytest.approx(each)


def test_growth_compares_the_cost_of_further_crystals():
    def screened(rows, each):
        stages = {"start": 3.0, "predict": 1.0 + each * rows, "rank": 0.5, "write": 0.5}
        return [{"wall_seconds": sum(stages.values()) + 4.0, "stage_seconds": stages}]

    found = {rows: screened(rows, 30e-6) for rows in (1_000, 10_000, 100_000)}
    costs = growth.slopes(found)["us_per_further_crystal"]
    assert costs == {"10000 to 100000": pytest.approx({"wall": 30.0, "work": 30.0})}
    found[1_000_000] = screened(1_000_000, 33e-6)
    assert growth.slopes(found)["late_slope_over_early"]["work"] == pytest.approx(1.11, rel=0.01)


def test_few_crystals_stand_for_all():
    sizes = np.random.default_rng(0).lognormal(6, 1, 3000).astype(np.int64)
    few = representative(sizes, 64)
    assert len(set(few.tolist())) == 64
    assert sizes[few].mean() == pytest.approx(sizes.mean(), rel=0.02)


def test_an_interrupted_run_keeps_its_results(tmp_path):
    file = tmp_path / "folder" / "speed.json"
    results = Results(file)
    results.put(["complete"], False)
    results.put_timings(["one core", "hoip"], {"a": Timing([1.0, 3.0, 2.0], 10)})
    results.put_ratio("a_vs_b", Ratio(300.0, 290.0, 310.0))
    with pytest.raises(TypeError):
        results.put(["bad"], {(1, 2): "no JSON"})
    kept = json.loads(file.read_text())
    assert kept["one core"]["hoip"]["a"]["us_per_crystal"] == 2.0
    assert kept["ratios"] == {"a_vs_b": 300.0}
    assert kept["complete"] is False
    assert Results(file).content == kept


def test_only_the_generated_part_of_the_page_changes():
    page = "before\n<!-- speed: begin -->\nold\n<!-- speed: end -->\nafter\n"
    changed = put_between(page, "speed", "new")
    assert changed == "before\n<!-- speed: begin -->\nnew\n<!-- speed: end -->\nafter\n"


def test_a_library_that_is_read_back_tells_repeats_and_what_is_invalid(tmp_path):
    batch = random_batch(6)
    flat = batch.take([0])._replace(lattice=np.zeros((1, 3, 3)))
    for name, part in (("a", batch), ("b", batch.take([2])), ("c", flat)):
        count = part.n_crystals
        table = crystals_table(part, [f"{name}{row}" for row in range(count)], ["X"] * count)
        write_parquet(table, resolve(tmp_path / f"{name}.parquet"))
    found = library_benchmark.read_back(tmp_path)
    counted = [found[name] for name in ("rows", "files", "invalid", "repeated_ids")]
    assert counted == [8, 3, 1, 0]
    assert found["repeated_keys"] == 1
