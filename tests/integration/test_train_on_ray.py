"""Trainings on Ray: workers that have no room, two of them, and how they end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from safetensors import numpy as safetensors

from emrl_ray.commands import train_model as module
from emrl_ray.commands.train import train
from emrl_ray.config import TrainConfig, UserError
from emrl_ray.model import Model
from tests.support.models import make_model
from tests.support.processes import TrainCall
from tests.support.short_trainings import options, write_inputs

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("train-on-ray"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 99}, r"^--workers 99: needs 99 CPUs, the cluster has 4$"),
        (
            {"workers": 99, "min_workers": 98},
            r"^--min-workers 98: needs 98 CPUs, the cluster has 4$",
        ),
    ],
)
def test_options_that_cannot_be_met_are_one_clear_line(
    changes, message, place, tmp_path, ray_session
):
    with pytest.raises(UserError, match=message):
        train(TrainConfig(**options(place, tmp_path / "model", **changes)))


def test_an_error_of_the_last_stage_is_one_line(place, tmp_path, ray_session):
    make_model(tmp_path / "start")
    network = tmp_path / "start" / "network.safetensors"
    state = safetensors.load(network.read_bytes())
    lost = {name: np.full_like(part, np.nan) for name, part in state.items()}
    network.write_bytes(safetensors.save(lost))
    changes = {"init": str(tmp_path / "start"), "engine": "ray"}
    with pytest.raises(ValueError, match=r"^linear head: \d+ of \d+ embeddings not finite$"):
        train(TrainConfig(**options(place, tmp_path / "model", **changes)))


def test_two_workers_that_diverge_say_so_and_two_that_do_not_leave_a_model(
    place, tmp_path, ray_session, monkeypatch, capsys
):
    handler = signal.getsignal(signal.SIGINT)
    astray = {"init": None, "epochs": 3, "batch_size": 8, "learning_rate": 1e37, "loss": "l1"}
    with pytest.raises(ValueError, match=r"^the loss is (nan|inf) in epoch .: lower --learning"):
        train(TrainConfig(**options(place, tmp_path / "astray", workers=2, **astray)))
    assert signal.getsignal(signal.SIGINT) is handler
    finish = module.call_in_task

    def killed(*arguments: Any) -> None:
        finish(*arguments)
        raise KeyError("killed")

    config = TrainConfig(**options(place, tmp_path / "model", epochs=1, workers=2))
    with monkeypatch.context() as patch:
        patch.setattr(module, "call_in_task", killed)
        with pytest.raises(KeyError):
            train(config)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "model" / "rejects.parquet").exists()
    assert (tmp_path / "model" / "_training").exists()
    train(config)
    assert "is finished, nothing to do" in capsys.readouterr().out
    assert not (tmp_path / "model" / "_training").exists()
    assert Model.load(str(tmp_path / "model")).card.best_head == "linear"


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
