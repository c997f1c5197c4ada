"""Data parallel training of the embedding network on Ray Train."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import torch
from numpy.typing import NDArray
from ray.train.torch import TorchTrainer, get_device

from emrl_ray.config import TrainConfig
from emrl_ray.crystals.accounting import duration
from emrl_ray.crystals.storage import absolute
from emrl_ray.features.elements import default_csv
from emrl_ray.fitting import Labels
from emrl_ray.machine import give_back_freed_memory, keep_freed_memory, limited_threads
from emrl_ray.model import read_state
from emrl_ray.networks.communicator import Communicator, ProcessGroup, SingleProcess
from emrl_ray.networks.network import Network
from emrl_ray.pipelines.relay import Say, relayed_lines
from emrl_ray.pipelines.shards import TrainingRows, read_shard
from emrl_ray.training import EpochRecord, Readout, Shard, TrainedNetwork, Trainer, make_network

STATE = "state.pt"
GIB = 1 << 30
SECONDS_BETWEEN_LINES = 5.0
STEPS_BETWEEN_LOOKS = 16
"""Steps after which the workers ask together whether one of their nodes is about to be taken away."""
ROOM_AWAITED = ("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "20")
"""Seconds in which a group of workers must find room, before a number that may change is chosen anew.

Ray learns within as many what nodes there are."""


def train_network(
    config: TrainConfig, graphs: str, labels: Labels, train: NDArray[np.int64], work: str
) -> TrainedNetwork:
    """Train the network on the labels at positions `train`, each worker holding a share of them.

    Without epochs it is the network of the model `config.init`.

    Checkpoints go below `work`; where some are there already, training goes on from the last. Raises
    ValueError, in one line, if the loss diverges.
    """
    if config.epochs == 0:
        assert config.init is not None
        return TrainedNetwork(read_state(config.init), None, [])
    rows = TrainingRows.of(graphs, labels, train)
    with relayed_lines() as say:
        # Any: the types of `ray.train` are those of its first version
        result: Any = _make_trainer(config, rows, work, say).fit()
    if result.return_value is not None:
        raise ValueError(result.return_value)
    assert result.checkpoint is not None
    saved = _read(result.checkpoint)
    state = {name: value.float().numpy() for name, value in saved["trainer"]["network"].items()}
    readout = saved["readout"]
    return TrainedNetwork(
        state, Readout(readout[0].numpy(), readout[1]) if readout else None, saved["curve"]
    )


def _make_trainer(config: TrainConfig, rows: TrainingRows, work: str, say: Say) -> TorchTrainer:
    workers: Any = config.workers
    if config.min_workers is not None:
        workers = (config.min_workers, config.workers)
        os.environ.setdefault(*ROOM_AWAITED)
    return TorchTrainer(
        _train_on_worker,  # type: ignore[arg-type]  # the type asked for is the first version's
        train_loop_config={"config": config, "rows": rows, "say": say},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=config.gpu,
            resources_per_worker={"CPU": config.cpus_per_worker, "GPU": int(config.gpu)},
        ),
        run_config=ray.train.RunConfig(
            name="network",
            storage_path=absolute(work),
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )


def _train_on_worker(settings: dict[str, Any]) -> str | None:
    """Train on one worker of several: hold a shard, take part in every step, write checkpoints.

    Returns why the training cannot go on, None if it is done. An error would be taken for a worker's,
    and training begun again from the last checkpoint.
    """
    config: TrainConfig = settings["config"]
    torch.set_num_threads(config.cpus_per_worker)
    communicator: Communicator = SingleProcess()
    if ray.train.get_context().get_world_size() > 1:
        communicator = ProcessGroup()
    network = _initial_network(config)
    shard = _own_shard(settings["rows"], communicator, config, network)
    give_back_freed_memory()
    keep_freed_memory()
    trainer = Trainer(
        network,
        shard,
        config,
        communicator,
        get_device() if config.gpu else "cpu",
    )
    curve: list[dict[str, float]] = []
    if checkpoint := ray.train.get_checkpoint():
        saved = _read(checkpoint)
        trainer.load_state_dict(saved["trainer"])
        curve = saved["curve"]
        if communicator.rank == 0:
            settings["say"](f"train: goes on after {_place(trainer)}, {_workers(communicator)}")
    checkpoints = _Checkpoints(trainer, curve, config.checkpoint_every, settings["say"])
    progress = _Progress(settings["say"], config.epochs, trainer.epoch)

    def after_epoch(record: EpochRecord) -> None:
        curve.append({"loss": record.loss, "learning_rate": record.learning_rate})
        if communicator.rank == 0:
            progress(record)
        checkpoints.after_epoch(record)

    try:
        trainer.run(after_epoch, checkpoints.after_step)
    except FloatingPointError as error:  # on every worker, as all have the same loss
        return str(error)
    return None


def _initial_network(config: TrainConfig) -> Network:
    """Return the network that training begins with: new, or that of the model `config.init`."""
    network = make_network(config, default_csv(), config.seed)
    if config.init is not None:
        state = read_state(config.init)
        network.load_state_dict({name: torch.tensor(part) for name, part in state.items()})
    return network


def _own_shard(
    rows: TrainingRows, communicator: Communicator, config: TrainConfig, network: Network
) -> Shard:
    assert config.cutoff is not None
    most_bytes = config.graphs_memory * GIB
    rank, world_size = communicator.rank, communicator.world_size
    with limited_threads(config.cpus_per_worker):
        return read_shard(rows, rank, world_size, config.cutoff, network.select, most_bytes)


def _place(trainer: Trainer) -> str:
    step = f", step {len(trainer.losses)}" if trainer.losses else ""
    return f"epoch {trainer.epoch}{step}"


def _workers(communicator: Communicator) -> str:
    return f"{communicator.world_size} worker{'s' if communicator.world_size > 1 else ''}"


class _Checkpoints:
    """Registers checkpoints of the first worker; all workers' states are the same."""

    def __init__(
        self, trainer: Trainer, curve: list[dict[str, float]], every: int, say: Say
    ) -> None:
        self.trainer, self.curve, self.every, self.say = trainer, curve, every, say
        self.steps = 0
        self.warned = False

    def after_epoch(self, record: EpochRecord) -> None:
        """Register one where it is due: after every epoch once a node is about to be taken away."""
        due = record.epoch % self.every == 0 or record.epoch == self.trainer.options.epochs
        if due or self.warned:
            self._register({"epoch": record.epoch, "loss": record.loss})

    def after_step(self) -> None:
        """Register one at the first look at which a node is about to be taken away."""
        self.steps += 1
        if self.warned or self.steps % STEPS_BETWEEN_LOOKS:
            return
        self.warned = ray.train.get_preemption_info() is not None  # the same on every worker
        if self.warned:
            self._register({"epoch": self.trainer.epoch, "step": len(self.trainer.losses)})
            if self.trainer.communicator.rank == 0:
                self.say(
                    "train: a node is about to be taken away, "
                    f"checkpoint after {_place(self.trainer)}"
                )

    def _register(self, metrics: dict[str, Any]) -> None:
        if self.trainer.communicator.rank > 0:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            readout = self.trainer.trained(self.curve).readout
            content = {
                "trainer": self.trainer.state_dict(),
                "curve": self.curve,
                "readout": (torch.from_numpy(readout.slope), readout.intercept)
                if readout
                else None,
            }
            torch.save(content, Path(folder) / STATE)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _read(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    with checkpoint.as_directory() as folder:
        return torch.load(Path(folder) / STATE, weights_only=True, map_location="cpu")


class _Progress:
    """Prints a line such as ``train: epoch 40/300, loss 0.1312, 1.1 s an epoch, 4 min 46 s left``."""

    def __init__(self, say: Say, epochs: int, done: int) -> None:
        self.say, self.epochs, self.done = say, epochs, done
        self.began = time.monotonic()
        self.printed = 0.0

    def __call__(self, record: EpochRecord) -> None:
        now = time.monotonic()
        if now - self.printed < SECONDS_BETWEEN_LINES and record.epoch < self.epochs:
            return
        self.printed = now
        pace = (now - self.began) / (record.epoch - self.done)
        self.say(
            f"train: epoch {record.epoch}/{self.epochs}, loss {record.loss:.4f}, "
            f"{record.seconds:.2f} s an epoch, "
            f"{duration(pace * (self.epochs - record.epoch))} left"
        )
