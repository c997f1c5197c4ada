"""Featurize and train: whole runs, bad rows, and options that cannot be met."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emrl_ray.commands.featurize import featurize
from emrl_ray.commands.predict import predict
from emrl_ray.commands.train import train
from emrl_ray.config import FeaturizeConfig, PredictConfig, TrainConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.features.graphs import Graphs
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.model import Model, read_state
from tests.support.crystals import random_batch
from tests.support.labeled_crystals import ROWS, write_crystals
from tests.support.processes import contents

EPOCHS = 40


def options(crystals: Path, out: Path, **changes) -> dict:
    return {
        "crystals": str(crystals),
        "target": "heft",
        "out": str(out),
        "cutoff": 4.0,
        "epochs": EPOCHS,
        "width": 16,
        "heads": ["linear"],
        "test": 0.2,
        "checkpoint_every": 30,
        "min_distance": 0.0,
        **changes,
    }


@pytest.fixture(scope="module")
def crystals(tmp_path_factory) -> Path:
    return write_crystals(tmp_path_factory.mktemp("crystals") / "crystals.parquet")


OUTSIDE = {
    "network": "tests.support.custom_network:MeanDistance",
    "loss": "tests.support.custom_network:half_l1",
}


@pytest.fixture(scope="module")
def graphs(crystals, tmp_path_factory) -> str:
    out = str(tmp_path_factory.mktemp("graphs") / "graphs")
    options = {"cutoff": 4.0, "min_distance": 0.0}
    return featurize(FeaturizeConfig(crystals=str(crystals), out=out, **options)).graphs


@pytest.fixture(scope="module")
def outside(crystals, graphs, tmp_path_factory) -> Path:
    """A model whose network and loss are of no registry."""
    out = tmp_path_factory.mktemp("models") / "outside"
    train(TrainConfig(**options(crystals, out, epochs=20, graphs=graphs, **OUTSIDE)))
    return out


@pytest.fixture(scope="module")
def undisturbed(crystals, graphs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("models") / "undisturbed"
    train(TrainConfig(**options(crystals, out, graphs=graphs)))
    return out


def test_featurize_accounts_for_every_row_and_resumes(crystals, tmp_path, capsys):
    config = FeaturizeConfig(
        crystals=str(crystals),
        out=str(tmp_path / "graphs"),
        cutoff=4.0,
        block_rows=50,
        min_distance=0,
    )
    counts = featurize(config).counts
    assert counts.balanced
    assert counts.rows_in == ROWS + 1
    assert counts.rejects == {"no_pairs": 1}
    assert "161 rows in = 160 rows out + 1 rejects (no_pairs 1)" in capsys.readouterr().out
    files = sorted((tmp_path / "graphs").glob("slice-*.parquet"))
    before = {file.name: file.read_bytes() for file in files}
    files[1].unlink()
    untouched = files[0].stat().st_mtime_ns
    assert featurize(config).counts == counts
    assert {file.name: file.read_bytes() for file in files} == before
    assert files[0].stat().st_mtime_ns == untouched
    table = pq.read_table(tmp_path / "graphs")
    direct = Graphs.from_crystals(random_batch(ROWS, seed=11, elements=12), 4.0)
    assert np.array_equal(Graphs.from_table(table, 4.0).pairs.center, direct.pairs.center)
    with pytest.raises(UserError, match=r"--cutoff was 4.0, is 3.0"):
        featurize(replace(config, cutoff=3.0))


def test_train_makes_a_whole_model(undisturbed, crystals, capsys):
    assert set(contents(undisturbed)) == {
        "_run.json",
        "calibration.json",
        "domain.safetensors",
        "held_out.parquet",
        "card.json",
        "elements.csv",
        "head_linear.safetensors",
        "learning_curve.json",
        "network.safetensors",
        "reference.parquet",
        "rejects.parquet",
    }
    model = Model.load(str(undisturbed))
    assert (model.card.target, model.card.unit, model.card.theory) == ("heft", "eV", "PBE")
    assert model.card.rows == {"train": 111, "calibration": 16, "test": 32}
    floor = model.card.metrics["test"]["floors"]["mean"]["mae"]
    assert model.card.metrics["test"]["linear"]["mae"] < floor
    assert len(read_json(resolve(undisturbed) / "learning_curve.json")) == EPOCHS
    reasons = pq.read_table(undisturbed / "rejects.parquet")["reason"].to_pylist()
    assert sorted(reasons) == ["missing_target", "no_pairs"]
    assert model.reference.num_rows == 111
    predictions, rejects = model.predict(pq.read_table(crystals), ValidationLimits(100, 10**6))
    assert predictions.num_rows + len(rejects) == ROWS + 1
    assert [reject.reason for reject in rejects] == ["no_pairs"]
    inside = np.mean(
        [
            low <= value <= high
            for low, value, high in zip(
                *(predictions[name].to_numpy() for name in ("lower", "heft", "upper")), strict=True
            )
        ]
    )
    assert inside > 0.8


def test_a_finished_model_is_left_alone_and_other_options_are_refused(
    undisturbed, crystals, graphs, capsys
):
    before = contents(undisturbed)
    train(TrainConfig(**options(crystals, undisturbed, graphs=graphs)))
    assert "is finished, nothing to do" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"--epochs was 40, is 41"):
        train(TrainConfig(**options(crystals, undisturbed, graphs=graphs, epochs=EPOCHS + 1)))
    assert contents(undisturbed) == before


def test_a_network_and_a_loss_from_outside_make_a_model(outside, crystals, tmp_path):
    model = Model.load(str(outside))
    assert model.card.network == "tests.support.custom_network:MeanDistance"
    assert set(model.heads) == {"linear", "readout"}
    assert model.card.metrics["test"].keys() == {"linear", "readout", "floors"}
    place = {"source": str(crystals), "out": str(tmp_path / "found.parquet")}
    found = predict(
        PredictConfig(model=str(outside), head="readout", min_distance=0, threads=1, **place)
    )
    assert found.predictions.num_rows == ROWS
    rows = CrystalBatch.from_arrow(pq.read_table(crystals)).take(np.arange(ROWS))
    readout = model.heads["readout"].predict(model.embed(rows))
    assert np.allclose(found.predictions.column("prediction").to_numpy(), readout)
    assert found.predictions.schema.field("prediction").metadata[b"unit"] == b"eV"


def test_training_may_start_from_the_network_of_a_model(
    outside, crystals, graphs, tmp_path, monkeypatch
):
    monkeypatch.chdir(outside.parent)
    still = {"epochs": 1, "learning_rate": 1e-12, "schedule": "constant", "seed": 1}
    changes = {"graphs": graphs, "init": outside.name, **still, **OUTSIDE}
    train(TrainConfig(**options(crystals, tmp_path / "model", **changes)))
    state = read_state(str(tmp_path / "model"))
    for name, value in read_state(str(outside)).items():
        assert np.allclose(state[name], value, atol=1e-9), name


def test_without_epochs_heads_are_fitted_on_the_network_as_it_is(
    outside, crystals, graphs, tmp_path
):
    changes = {"graphs": graphs, "init": str(outside), "epochs": 0, "target": "sites", **OUTSIDE}
    train(TrainConfig(**options(crystals, tmp_path / "model", **changes)))
    assert (
        contents(tmp_path / "model")["network.safetensors"]
        == (contents(outside)["network.safetensors"])
    )
    model = Model.load(str(tmp_path / "model"))
    assert (model.card.target, model.card.unit, set(model.heads)) == ("sites", None, {"linear"})
    assert read_json(resolve(tmp_path / "model") / "learning_curve.json") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"network": "tgnn"},
            r"--init .*: its network is tests\.support\.custom_network.*, --network is tgnn$",
        ),
        ({"cutoff": 3.5}, r"--init .*: its cutoff is 4.0, --cutoff is 3.5$"),
        ({"width": 8}, r"--init .*: its width is 16, --width is 8$"),
        ({"init": "nowhere"}, r"nowhere"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_as_a_start(
    changes, message, outside, crystals, tmp_path
):
    changes = {"init": str(outside), **OUTSIDE, **changes}
    with pytest.raises((ValueError, OSError), match=message) as caught:
        train(TrainConfig(**options(crystals, tmp_path / "model", **changes)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "hefty"}, "no target 'hefty'; its numeric columns: heft"),
        ({"network": "gnn"}, "--network gnn: choose from tgnn"),
        ({"loss": "l3"}, "--loss l3: choose from emrl"),
        ({"loss": "nowhere:l1"}, "--loss nowhere:l1: No module named 'nowhere'"),
        (
            {"loss": "tests.support.custom_network:l1"},
            "--loss tests.support.custom_network:l1: .* no attribute 'l1'",
        ),
        (
            {"loss": "tests.support.custom_network:no_loss"},
            "--loss tests.support.custom_network:no_loss: is no Loss",
        ),
        ({"loss": ":l1"}, "--loss :l1: choose from .*, or give MODULE:NAME$"),
        ({"network": ".outside:x"}, "--network .outside:x: choose from"),
        (
            {"network": "tests.support.custom_network:half_l1"},
            "--network tests.support.custom_network:half_l1: is no Network",
        ),
        ({"network": "gcn", "batch_norm": "three_pass"}, "--batch-norm three_pass: .*has shared$"),
        ({"epochs": 0}, "--epochs 0: needs --init MODEL"),
        ({"test": 0.85, "calibration": 0.1}, r"--test 0.85 --calibration 0.1: leave 8 rows"),
        ({"basis": "reference", "cutoff": 3.0}, r"--cutoff 3.0: the reference basis needs more"),
        ({"width": 1}, r"--width 1: must be at least 2"),
        ({"min_occurrences": 0}, r"--min-occurrences 0: must be at least 1"),
        ({"workers": 2, "min_workers": 3}, r"--min-workers 3: must be at most --workers 2$"),
        ({"graphs_memory": -1.0}, r"--graphs-memory -1.0: must be at least 0$"),
        ({"l2": -1.0}, r"--l2 -1.0: must be at least 0"),
        ({"graphs": "nowhere"}, r"--graphs nowhere: no such Parquet file"),
    ],
)
def test_options_that_cannot_be_met_are_one_clear_line(changes, message, crystals, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        train(TrainConfig(**options(crystals, tmp_path / "model", **changes)))
    assert "\n" not in str(caught.value)


def test_a_loss_that_diverges_is_one_clear_line(crystals, tmp_path):
    changes = {"learning_rate": 1e38, "loss": "l1", "epochs": 3}
    with pytest.raises(ValueError, match=r"^the loss is (nan|inf) in epoch .: lower --learning"):
        train(TrainConfig(**options(crystals, tmp_path / "model", **changes)))


def test_graphs_of_other_crystals_are_refused(crystals, tmp_path):
    other = write_crystals(tmp_path / "other.parquet", rows=20)
    graphs = str(tmp_path / "graphs")
    featurize(FeaturizeConfig(crystals=str(other), out=graphs, cutoff=4.0))
    with pytest.raises(UserError, match=r"--graphs .* was not made from .*crystals\.parquet"):
        train(TrainConfig(**options(crystals, tmp_path / "model", graphs=graphs)))


def test_too_few_labels_are_one_clear_line_before_any_work(tmp_path):
    few = write_crystals(tmp_path / "few.parquet", rows=8)
    with pytest.raises(UserError, match=r"8 rows with a heft, at least 10 are needed$"):
        train(TrainConfig(**options(few, tmp_path / "model")))
    assert not (tmp_path / "model").exists()


def test_an_id_in_two_rows_is_one_clear_line_before_any_work(crystals, tmp_path):
    table = pq.read_table(crystals)
    pq.write_table(pa.concat_tables([table, table.slice(40, 1)]), tmp_path / "double.parquet")
    with pytest.raises(UserError, match=r"double\.parquet: the id 'c40' stands in two rows"):
        train(TrainConfig(**options(tmp_path / "double.parquet", tmp_path / "model")))
    assert not (tmp_path / "model").exists()


def test_a_column_with_the_name_of_a_graph_column_is_refused(crystals, tmp_path):
    table = pq.read_table(crystals).append_column("distance", pa.nulls(ROWS + 1, pa.float64()))
    pq.write_table(table, tmp_path / "odd.parquet")
    with pytest.raises(ValueError, match=r"has a column 'distance', as graphs have; rename it$"):
        featurize(FeaturizeConfig(crystals=str(tmp_path / "odd.parquet"), out=str(tmp_path / "g")))
