"""Data parallel training of the embedding network on Ray Train."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
from ray.train import UserCallback
from ray.train.torch import TorchTrainer, get_device

from emrl_ray.config import TrainConfig
from emrl_ray.config.errors import UserError
from emrl_ray.distributed.log_relay import LogSink, relay_worker_logs
from emrl_ray.distributed.training.checkpoints import (
    from_bytes,
    steps_done,
    to_bytes,
    trained_network,
)
from emrl_ray.distributed.training.early_stop import TrialControl
from emrl_ray.distributed.training.local_training import RAY_FOLDER, STATE, read_local
from emrl_ray.distributed.training.shards import TrainingRows
from emrl_ray.distributed.training.train_loop import train_on_worker
from emrl_ray.io.paths import absolute_uri
from emrl_ray.networks.layers.collectives import Communicator, ProcessGroup, SingleProcess
from emrl_ray.training.trainer import TrainedNetwork

ROOM_AWAITED = ("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "20")
"""Seconds in which a group of workers must find room, before a number that may change is chosen anew.

Ray learns within as many what nodes there are."""


def train_with_ray(config: TrainConfig, rows: TrainingRows, work: str) -> TrainedNetwork:
    """Train the network on Ray Train, each worker holding a share of the rows.

    Checkpoints go below `work`; where some are there already, training goes on from the last. Raises
    UserError, in one line, if the loss diverges.
    """
    with relay_worker_logs() as say:
        return trained_network(read_checkpoint(train_on_rows(config, rows, work, say)))


def train_on_rows(
    config: TrainConfig,
    rows: TrainingRows,
    work: str,
    say: LogSink,
    scoring: TrialControl | None = None,
    callbacks: Sequence[UserCallback] = (),
) -> ray.train.Checkpoint:
    """Train a network as Ray Train workers, and return the last checkpoint.

    Checkpoints go below `work`; where some are there already, training goes on from the last. With
    `scoring` what is reported at each has a validation MAE, and the training ends when it is
    unwanted. Raises UserError, in one line, if the loss diverges.
    """
    # Any: the types of `ray.train` are those of its first version
    trainer = _make_trainer(config, rows, work, say, scoring, callbacks)
    with _interruptible():
        result: Any = trainer.fit()
    if result.return_value is not None:
        raise UserError(result.return_value)
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
    say: LogSink,
    scoring: TrialControl | None,
    callbacks: Sequence[UserCallback],
) -> TorchTrainer:
    told: list[Any] = list(callbacks)
    workers: Any = config.workers
    if config.min_workers is not None:
        workers = (config.min_workers, config.workers)
        os.environ.setdefault(*ROOM_AWAITED)
    return TorchTrainer(
        _train_with_ray,  # type: ignore[arg-type]  # the type asked for is the first version's
        train_loop_config={
            "config": config,
            "rows": rows,
            "work": absolute_uri(work),
            "say": say,
            "scoring": scoring,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=config.gpu,
            resources_per_worker={"CPU": config.cpus_per_worker, "GPU": int(config.gpu)},
        ),
        run_config=ray.train.RunConfig(
            name=RAY_FOLDER,
            storage_path=absolute_uri(work),
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            callbacks=told,
        ),
    )


class _RaySession:
    """One worker of Ray Train."""

    def __init__(self, config: TrainConfig, work: str, say: LogSink) -> None:
        alone = ray.train.get_context().get_world_size() == 1
        self.communicator: Communicator = SingleProcess() if alone else ProcessGroup()
        self.device = get_device() if config.gpu else "cpu"
        self.work, self.log = work, say

    def latest(self) -> dict[str, Any] | None:
        """Return the further of Ray Train's checkpoint and the one that the local engine left."""
        registered = ray.train.get_checkpoint()
        saved = read_checkpoint(registered) if registered else None
        local = read_local(self.work)
        if local is None or (saved is not None and steps_done(saved) >= steps_done(local)):
            return saved
        epoch, _ = steps_done(local)
        self.report({"epoch": epoch}, local if self.communicator.rank == 0 else None)
        return local

    def report(self, metrics: Mapping[str, Any], content: dict[str, Any] | None = None) -> None:
        """Register scores, and a checkpoint on the first worker; all workers' states are the same."""
        if content is None:
            ray.train.report(dict(metrics))
            return
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / STATE).write_bytes(to_bytes(content))
            ray.train.report(dict(metrics), checkpoint=ray.train.Checkpoint.from_directory(folder))

    def node_leaves(self) -> bool:
        """Return whether a node is about to be taken away; the same on every worker."""
        return ray.train.get_preemption_info() is not None


def _train_with_ray(settings: dict[str, Any]) -> str | None:
    """Train on one worker of Ray Train; return why the training cannot go on, None if it is done."""
    config: TrainConfig = settings["config"]
    session = _RaySession(config, settings["work"], settings["say"])
    return train_on_worker(config, settings["rows"], session, settings["scoring"])


def read_checkpoint(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    """Return the content of a checkpoint that a worker registered."""
    with checkpoint.as_directory() as folder:
        return from_bytes((Path(folder) / STATE).read_bytes())
