"""Data parallel training of the embedding network on Ray Train."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray.train
import torch
from numpy.typing import NDArray
from ray.train import UserCallback
from ray.train.torch import TorchTrainer, get_device

from emrl_ray.config import TrainConfig
from emrl_ray.crystals.storage import absolute
from emrl_ray.features.elements import default_csv
from emrl_ray.fitting import Labels
from emrl_ray.machine import give_back_freed_memory, keep_freed_memory, limited_threads
from emrl_ray.model import read_state
from emrl_ray.networks.communicator import Communicator, ProcessGroup, SingleProcess
from emrl_ray.networks.network import Network
from emrl_ray.pipelines.checkpoints import Checkpoints, Progress, place_of, read_checkpoint
from emrl_ray.pipelines.relay import Say, relayed_lines
from emrl_ray.pipelines.scoring import Scoring, Unwanted, report_again
from emrl_ray.pipelines.shards import TrainingRows, read_shard
from emrl_ray.training import EpochRecord, Readout, Shard, TrainedNetwork, Trainer, make_network
from emrl_ray.tuning.validation import Validator

GIB = 1 << 30
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
        saved = read_checkpoint(train_on_rows(config, rows, work, say))
    state = {name: value.float().numpy() for name, value in saved["trainer"]["network"].items()}
    readout = saved["readout"]
    return TrainedNetwork(
        state, Readout(readout[0].numpy(), readout[1]) if readout else None, saved["curve"]
    )


def train_on_rows(
    config: TrainConfig,
    rows: TrainingRows,
    work: str,
    say: Say,
    scoring: Scoring | None = None,
    callbacks: Sequence[UserCallback] = (),
) -> ray.train.Checkpoint:
    """Train a network as Ray Train workers, and return the last checkpoint.

    Checkpoints go below `work`; where some are there already, training goes on from the last. With
    `scoring` what is reported at each has a validation MAE, and the training ends when it is
    unwanted. Raises ValueError, in one line, if the loss diverges.
    """
    # Any: the types of `ray.train` are those of its first version
    trainer = _make_trainer(config, rows, work, say, scoring, callbacks)
    with _interruptible():
        result: Any = trainer.fit()
    if result.return_value is not None:
        raise ValueError(result.return_value)
    assert result.checkpoint is not None
    return result.checkpoint


@contextmanager
def _interruptible() -> Iterator[None]:
    """Context in which Ray Train's `fit` may be interrupted as all else: by KeyboardInterrupt.

    On the main thread `fit` sets a handler of its own, which ends the process with status 0, and leaves
    it there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, handler)


def _make_trainer(
    config: TrainConfig,
    rows: TrainingRows,
    work: str,
    say: Say,
    scoring: Scoring | None,
    callbacks: Sequence[UserCallback],
) -> TorchTrainer:
    told: list[Any] = list(callbacks)
    workers: Any = config.workers
    if config.min_workers is not None:
        workers = (config.min_workers, config.workers)
        os.environ.setdefault(*ROOM_AWAITED)
    return TorchTrainer(
        _train_on_worker,  # type: ignore[arg-type]  # the type asked for is the first version's
        train_loop_config={"config": config, "rows": rows, "say": say, "scoring": scoring},
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
            callbacks=told,
        ),
    )


def _train_on_worker(settings: dict[str, Any]) -> str | None:
    """Train on one worker of several: hold a shard, take part in every step, write checkpoints.

    Returns why the training cannot go on, None if it is done. An error would be taken for a worker's,
    and training begun again from the last checkpoint.
    """
    config: TrainConfig = settings["config"]
    scoring: Scoring | None = settings["scoring"]
    torch.set_num_threads(config.cpus_per_worker)
    communicator: Communicator = SingleProcess()
    if ray.train.get_context().get_world_size() > 1:
        communicator = ProcessGroup()
    network, device = _initial_network(config), get_device() if config.gpu else "cpu"
    try:
        shard = _read_shard(settings["rows"], communicator, config, network)
        validator = None
        if scoring is not None:
            held_out = _read_shard(scoring.held_out, SingleProcess(), config, network)
            validator = Validator(config, scoring.head, shard, held_out)
        too_many = ""
    except OverflowError as error:
        too_many = str(error)
    refusal = _of_any_worker(too_many, communicator, device)
    if refusal is not None:
        return refusal
    give_back_freed_memory()
    keep_freed_memory()
    trainer = Trainer(network, shard, config, communicator, device)
    curve: list[dict[str, float]] = []
    if checkpoint := ray.train.get_checkpoint():
        saved = read_checkpoint(checkpoint)
        trainer.load_state_dict(saved["trainer"])
        curve = saved["curve"]
        if communicator.rank == 0:
            settings["say"](f"train: goes on after {place_of(trainer)}, {_workers(communicator)}")
        if scoring is not None:
            report_again(curve, scoring.reported)
    checkpoints = Checkpoints(trainer, curve, config.checkpoint_every, settings["say"], validator)
    progress = Progress(settings["say"], config.epochs, trainer.epoch)

    def after_epoch(record: EpochRecord) -> None:
        curve.append({"loss": record.loss, "learning_rate": record.learning_rate})
        if communicator.rank == 0:
            progress(record)
        checkpoints.after_epoch(record)
        if scoring is not None:
            scoring.check(trainer)

    try:
        trainer.run(after_epoch, checkpoints.after_step)
    except Unwanted:
        return None
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


def _of_any_worker(
    refusal: str, communicator: Communicator, device: torch.device | str
) -> str | None:
    """Return the first worker's reason, of those that are not empty, not to train; the same on each."""
    letters = torch.tensor([*refusal.encode(), 0], dtype=torch.uint8, device=device)
    told = bytes(communicator.gather(letters, 0).tolist()).decode()
    return next((text for text in told.split("\0") if text), None)


def _read_shard(
    rows: TrainingRows, communicator: Communicator, config: TrainConfig, network: Network
) -> Shard:
    assert config.cutoff is not None
    most_bytes = config.graphs_memory * GIB
    rank, world_size = communicator.rank, communicator.world_size
    with limited_threads(config.cpus_per_worker):
        return read_shard(rows, rank, world_size, config.cutoff, network.select, most_bytes)


def _workers(communicator: Communicator) -> str:
    return f"{communicator.world_size} worker{'s' if communicator.world_size > 1 else ''}"
