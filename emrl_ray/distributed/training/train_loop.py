"""The part of one worker in a training: the same in this process and on Ray Train."""

from __future__ import annotations

import torch

from emrl_ray.config import TrainConfig
from emrl_ray.distributed.training.checkpoints import Checkpoints, Progress, Session, position_of
from emrl_ray.distributed.training.early_stop import TrialControl, TrialStopped
from emrl_ray.distributed.training.shards import TrainingRows, read_shard
from emrl_ray.experiments.tuning.validation import Validator
from emrl_ray.features.element_properties import default_csv
from emrl_ray.io.runtime import give_back_freed_memory, keep_freed_memory, limited_threads
from emrl_ray.model import read_state
from emrl_ray.networks.base import Network
from emrl_ray.networks.layers.collectives import Communicator, SingleProcess
from emrl_ray.training.trainer import EpochRecord, Shard, Trainer, make_network

GIB = 1 << 30


def train_on_worker(
    config: TrainConfig, rows: TrainingRows, session: Session, scoring: TrialControl | None = None
) -> str | None:
    """Train on one worker of several: hold a shard, take part in every step, write checkpoints.

    Returns why the training cannot go on, None if it is done. Ray Train would take an error for a
    lost worker's, and train again from the last checkpoint.
    """
    torch.set_num_threads(config.cpus_per_worker)
    communicator, device = session.communicator, session.device
    network = _initial_network(config)
    try:
        shard = _read_shard(rows, communicator, config, network)
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
    if (saved := session.latest()) is not None:
        trainer.load_state_dict(saved["trainer"])
        curve = saved["curve"]
        if communicator.rank == 0:
            session.log(f"train: goes on after {position_of(trainer)}, {_workers(communicator)}")
        if scoring is not None:
            _report_again(curve, scoring.reported, session)
    checkpoints = Checkpoints(trainer, curve, config.checkpoint_every, session, validator)
    progress = Progress(session.log, config.epochs, trainer.epoch)

    def after_epoch(record: EpochRecord) -> None:
        curve.append({"loss": record.loss, "learning_rate": record.learning_rate})
        if communicator.rank == 0:
            progress(record)
        checkpoints.after_epoch(record)
        if scoring is not None:
            scoring.check(trainer)

    try:
        trainer.run(after_epoch, checkpoints.after_step)
    except TrialStopped:
        return None
    except FloatingPointError as error:  # on every worker, as all have the same loss
        return str(error)
    return None


def _report_again(curve: list[dict[str, float]], reported: int, session: Session) -> None:
    """Report the scores of a resumed training: its driver may have ended before it knew of them."""
    for epoch, entry in enumerate(curve, start=1):
        if epoch > reported and "validation_mae" in entry:
            session.report({"epoch": epoch, **entry})


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
    max_bytes = config.graphs_memory * GIB
    rank, world_size = communicator.rank, communicator.world_size
    with limited_threads(config.cpus_per_worker):
        return read_shard(rows, rank, world_size, config.cutoff, network.select, max_bytes)


def _workers(communicator: Communicator) -> str:
    return f"{communicator.world_size} worker{'s' if communicator.world_size > 1 else ''}"
