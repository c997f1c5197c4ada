"""How a training ends: interrupted, killed after its last stage, or refused in a line by that stage."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from safetensors import numpy as safetensors

from emrl_ray.config import TrainConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.fingerprints import table_fingerprint
from emrl_ray.crystals.storage import locate, write_parquet
from emrl_ray.crystals.tables import crystals_table
from emrl_ray.crystals.validation import Limits
from emrl_ray.model import Model, read_card
from emrl_ray.pipelines import train as module
from emrl_ray.pipelines.featurize import FeaturizeWorker, graph_table
from emrl_ray.pipelines.train import train
from emrl_ray.resuming.output import Output
from emrl_ray.resuming.row_slices import plan_rows
from tests.support.models import CUTOFF, TARGET, make_model, random_crystals
from tests.support.processes import TrainCall

pytestmark = pytest.mark.timeout(900)

ROWS = 60
LONGER = 6.0
"""Cutoff of the graphs, Å; one crystal has pairs within it and none within that of the network."""


def cubic(name: str, number: int, edge: float, target: float) -> pa.Table:
    """Return a crystal of one atom in a cube."""
    batch = CrystalBatch(
        edge * np.eye(3)[None], np.array([number], np.uint8), np.zeros((1, 3)), np.array([0, 1])
    )
    values = {TARGET: pa.array([target])}
    return crystals_table(batch, [name], [name], values)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a model, crystals, and their graphs; one has hydrogen, and stands last."""
    place = tmp_path_factory.mktemp("train-ends")
    make_model(place / "model")
    crystals = random_crystals(ROWS - 1, 1)
    others = [
        cubic("far", 26, 5.0, 125.0),
        cubic("bare", 26, 5.0, np.nan),
        cubic("h", 1, 3.0, 27.0),
    ]
    crystals = pa.concat_tables([crystals, *(table.cast(crystals.schema) for table in others)])
    write_parquet(crystals, locate(place / "crystals.parquet"))
    (whole,) = plan_rows(str(place / "crystals.parquet"), ROWS + 2)
    output = Output(str(place / "graphs"), str(place / "graphs" / "_rejects"))
    fingerprint = table_fingerprint(str(place / "crystals.parquet"))
    FeaturizeWorker(Limits(100, 10**6, LONGER, 0.0), output, fingerprint)(whole)
    return place


def options(place: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Return options that make a model of the network as it is."""
    return {
        "crystals": str(place / "crystals.parquet"),
        "graphs": str(place / "graphs"),
        "target": TARGET,
        "out": str(out),
        "cutoff": CUTOFF,
        "width": 16,
        "heads": ["linear"],
        "epochs": 0,
        "init": str(place / "model"),
        "min_distance": 0.0,
        **changes,
    }


def test_rows_without_a_pair_within_the_cutoff_are_rejects_though_the_graphs_reach_further(
    place, tmp_path, ray_session, monkeypatch
):
    monkeypatch.chdir(place)
    train(TrainConfig(**options(place, tmp_path / "model", graphs="graphs")))
    rejects = pq.read_table(tmp_path / "model" / "rejects.parquet").to_pylist()
    crystals = str(place / "crystals.parquet")
    limits = Limits(100, 10**6, CUTOFF, 0.0)
    _, expected = graph_table(pq.read_table(crystals), limits, crystals)
    assert rejects == [reject._asdict() for reject in expected]
    assert {"far", "bare"} <= {reject.id for reject in expected}
    assert sum(read_card(str(tmp_path / "model")).rows.values()) == ROWS + 2 - len(expected)
    train(TrainConfig(**options(place, tmp_path / "model")))  # the same graphs, named in full


def test_a_training_killed_after_its_card_has_its_rejects_and_leaves_no_work(
    place, tmp_path, ray_session, monkeypatch, capsys
):
    finish = module._fit_and_save

    def killed(*arguments: Any) -> None:
        finish(*arguments)
        raise KeyError("killed")

    handler = signal.getsignal(signal.SIGINT)
    config = TrainConfig(**options(place, tmp_path / "model", epochs=1))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_fit_and_save", killed)
        with pytest.raises(KeyError):
            train(config)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "model" / "rejects.parquet").exists()
    assert (tmp_path / "model" / "_training").exists()
    train(config)
    assert "is finished, nothing to do" in capsys.readouterr().out
    assert not (tmp_path / "model" / "_training").exists()
    assert Model.load(str(tmp_path / "model")).card.best_head == "linear"


def test_an_error_of_the_last_stage_is_one_line(place, tmp_path, ray_session):
    make_model(tmp_path / "start")
    network = tmp_path / "start" / "network.safetensors"
    state = safetensors.load(network.read_bytes())
    lost = {name: np.full_like(part, np.nan) for name, part in state.items()}
    network.write_bytes(safetensors.save(lost))
    changes = {"init": str(tmp_path / "start")}
    with pytest.raises(ValueError, match=r"^linear head: \d+ of \d+ embeddings not finite$"):
        train(TrainConfig(**options(place, tmp_path / "model", **changes)))


@pytest.mark.slow
def test_too_many_atoms_on_one_worker_of_two_are_one_line(place, tmp_path, ray_session):
    changes = {
        "network": "tests.support.custom_network:NoHydrogen",
        "loss": "tests.support.custom_network:half_l1",
    }
    changes |= {"init": None, "epochs": 1, "workers": 2, "test": 0.0, "calibration": 0.0}
    with pytest.raises(ValueError, match=r"^more than 0 atoms of hydrogen for one worker$"):
        train(TrainConfig(**options(place, tmp_path / "model", **changes)))


def test_an_interrupted_training_says_so_in_one_line_and_ends_with_status_130(
    place, tmp_path, ray_session
):
    address = ray.get_runtime_context().gcs_address
    chosen = options(place, tmp_path / "model", epochs=10**6, checkpoint_every=1, address=address)
    call = TrainCall({**chosen, "heads": "linear"})
    call.until_checkpoint()
    os.kill(call.pid, signal.SIGINT)
    status, said = call.end()
    assert status == 130, said
    assert said.splitlines()[-1] == (
        "emrl-ray train: interrupted; the same command goes on from here"
    )
    own = [
        line for line in said.splitlines() if " pid=" not in line
    ]  # others are of Ray's processes
    assert not any("Traceback" in line for line in own)
    assert not (call.out / "_lock.json").exists()
