"""Training of the embedding network in this process, without Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from emrl_ray.config import TrainConfig, UserError
from emrl_ray.distributed.training.checkpoints import (
    from_bytes,
    steps_done,
    to_bytes,
    trained_network,
)
from emrl_ray.distributed.training.shards import TrainingRows
from emrl_ray.distributed.training.train_loop import train_on_worker
from emrl_ray.io.atomic import write_bytes
from emrl_ray.io.console import log
from emrl_ray.io.paths import absolute_uri, read_json, resolve
from emrl_ray.io.runtime import limited_threads
from emrl_ray.networks.layers.collectives import SingleProcess
from emrl_ray.training.trainer import TrainedNetwork

RAY_FOLDER, LOCAL_FOLDER = "network", "local"
"""Folders for the checkpoints of Ray Train and of this process, below that of the training's work."""
STATE = "state.pt"
"""File of a checkpoint, in the folder of either."""
SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Ray Train's record of the checkpoints that are registered."""


class _LocalSession:
    """The one worker of a training in this process."""

    communicator = SingleProcess()
    device = "cpu"

    def __init__(self, work: str) -> None:
        self.work = work

    def latest(self) -> dict[str, Any] | None:
        """Return the further of this process's checkpoint and Ray Train's."""
        found = [each for each in (read_local(self.work), _read_registered(self.work)) if each]
        return max(found, key=steps_done, default=None)

    def report(self, metrics: Mapping[str, Any], content: dict[str, Any] | None = None) -> None:
        """Write a checkpoint in place of the one before."""
        if content is not None:
            write_bytes(
                to_bytes(content), resolve(f"{absolute_uri(self.work)}/{LOCAL_FOLDER}/{STATE}")
            )

    def node_leaves(self) -> bool:
        """Return False: nobody announces the end of this process."""
        return False

    def log(self, text: str) -> None:
        """Print a line."""
        log(text)


def train_locally(config: TrainConfig, rows: TrainingRows, work: str) -> TrainedNetwork:
    """Train the network in this process.

    Checkpoints go below `work`; where some are there already, training goes on from the last. Raises
    UserError, in one line, if the loss diverges.
    """
    session, threads = _LocalSession(work), torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]), limited_threads(config.cpus_per_worker):
            refusal = train_on_worker(config, rows, session)
    finally:
        torch.set_num_threads(threads)
    if refusal is not None:
        raise UserError(refusal)
    content = session.latest()
    assert content is not None
    return trained_network(content)


def read_local(work: str) -> dict[str, Any] | None:
    """Return the checkpoint that a training in one process left below `work`, if there is one."""
    place = resolve(f"{absolute_uri(work)}/{LOCAL_FOLDER}/{STATE}")
    return from_bytes(place.read_bytes()) if place.is_file() else None


def _read_registered(work: str) -> dict[str, Any] | None:
    """Return the last checkpoint that Ray Train registered below `work`, if there is one.

    Raises UserError, in one line, if its record is not as this version knows it.
    """
    folder = resolve(f"{absolute_uri(work)}/{RAY_FOLDER}")
    if not (folder / SNAPSHOT).is_file():
        return None
    try:
        last = read_json(folder / SNAPSHOT)["latest_checkpoint_result"]
        if last is None:
            return None
        return from_bytes((folder / last["checkpoint_dir_name"] / STATE).read_bytes())
    except (json.JSONDecodeError, KeyError, TypeError, FileNotFoundError) as error:
        raise UserError(
            f"{folder.path}: holds checkpoints of Ray Train that cannot be read here "
            f"({type(error).__name__}: {error}); use --engine ray, or --overwrite"
        ) from None
