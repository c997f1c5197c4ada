"""How a training ends: killed after its last stage, or refused in a line by that stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import numpy as safetensors

from emrl_ray.commands import train_model as module
from emrl_ray.commands.featurize import graph_table
from emrl_ray.commands.train import train
from emrl_ray.config import TrainConfig
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.model import Model, read_card
from tests.support.models import CUTOFF, make_model
from tests.support.short_trainings import ROWS, options, write_inputs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("train-ends"))


def test_rows_without_a_pair_within_the_cutoff_are_rejects_though_the_graphs_reach_further(
    place, tmp_path, monkeypatch
):
    monkeypatch.chdir(place)
    train(TrainConfig(**options(place, tmp_path / "model", graphs="graphs")))
    rejects = pq.read_table(tmp_path / "model" / "rejects.parquet").to_pylist()
    crystals = str(place / "crystals.parquet")
    limits = ValidationLimits(100, 10**6, CUTOFF, 0.0)
    _, expected = graph_table(pq.read_table(crystals), limits, crystals)
    assert rejects == [reject._asdict() for reject in expected]
    assert {"far", "bare"} <= {reject.id for reject in expected}
    assert sum(read_card(str(tmp_path / "model")).rows.values()) == ROWS + 2 - len(expected)
    train(TrainConfig(**options(place, tmp_path / "model")))  # the same graphs, named in full


def test_a_training_killed_after_its_card_has_its_rejects_and_leaves_no_work(
    place, tmp_path, monkeypatch, capsys
):
    finish = module._fit_and_save

    def killed(*arguments: Any) -> None:
        finish(*arguments)
        raise KeyError("killed")

    config = TrainConfig(**options(place, tmp_path / "model", epochs=1))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_fit_and_save", killed)
        with pytest.raises(KeyError):
            train(config)
    assert (tmp_path / "model" / "rejects.parquet").exists()
    assert (tmp_path / "model" / "_training").exists()
    train(config)
    assert "is finished, nothing to do" in capsys.readouterr().out
    assert not (tmp_path / "model" / "_training").exists()
    assert Model.load(str(tmp_path / "model")).card.best_head == "linear"


def test_an_error_of_the_last_stage_is_one_line(place, tmp_path):
    make_model(tmp_path / "start")
    network = tmp_path / "start" / "network.safetensors"
    state = safetensors.load(network.read_bytes())
    lost = {name: np.full_like(part, np.nan) for name, part in state.items()}
    network.write_bytes(safetensors.save(lost))
    changes = {"init": str(tmp_path / "start")}
    with pytest.raises(ValueError, match=r"^linear head: \d+ of \d+ embeddings not finite$"):
        train(TrainConfig(**options(place, tmp_path / "model", **changes)))
