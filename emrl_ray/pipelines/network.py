"""Data parallel training of the embedding network on Ray Train."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray.data
import ray.train
import torch
from numpy.typing import NDArray
from ray.train import UserCallback
from ray.train.torch import TorchTrainer, get_device

from emrl_ray.config import TrainConfig
from emrl_ray.crystals.accounting import duration
from emrl_ray.crystals.storage import absolute, table_schema
from emrl_ray.features.elements import default_csv
from emrl_ray.features.graphs import GRAPH_COLUMNS, Graphs, table_cutoff, with_cutoff
from emrl_ray.fitting import Labels
from emrl_ray.machine import keep_freed_memory
from emrl_ray.model import read_state
from emrl_ray.networks.communicator import Communicator, ProcessGroup, SingleProcess
from emrl_ray.networks.network import Network
from emrl_ray.pipelines.relay import Say, relayed_lines
from emrl_ray.pipelines.scoring import Scoring, Unwanted, report_again
from emrl_ray.pipelines.slices import RowSlice, plan_rows, read_slice
from emrl_ray.training import EpochRecord, Readout, Shard, TrainedNetwork, Trainer, make_network
from emrl_ray.tuning.validation import Validator

STATE = "state.pt"
VALIDATION = "validation"
ROWS_PER_BLOCK = 2048
SECONDS_BETWEEN_LINES = 5.0


class TrainingRows(NamedTuple):
    """The rows that workers train on."""

    shards: list[ray.data.Dataset]
    """Each worker's, as `load_shards` gives them."""
    cutoff: float
    """Longest pair distance that they hold, Å."""
    held_out: ray.data.Dataset | None = None
    """Rows to score the network on."""


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
    rows = TrainingRows(
        load_shards(graphs, labels, train, config.workers), table_cutoff(table_schema(graphs))
    )
    with relayed_lines() as say:
        saved = _read(train_on_rows(config, rows, work, say))
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

    Checkpoints go below `work`; where some are there already, training goes on from the last. With `scoring` what
    is reported at each has a validation MAE, and the training ends when it is unwanted. Raises ValueError, in one line, if the loss diverges.
    """
    # Any: the types of `ray.train` are those of its first version
    result: Any = _make_trainer(config, rows, work, say, scoring, callbacks).fit()
    if result.return_value is not None:
        raise ValueError(result.return_value)
    assert result.checkpoint is not None
    return result.checkpoint


def _make_trainer(
    config: TrainConfig,
    rows: TrainingRows,
    work: str,
    say: Say,
    scoring: Scoring | None,
    callbacks: Sequence[UserCallback],
) -> TorchTrainer:
    # Any: the types of `ray.train` are those of its first version
    datasets: dict[str, Any] = {f"shard-{rank}": shard for rank, shard in enumerate(rows.shards)}
    if scoring is not None:
        datasets[VALIDATION] = rows.held_out
    told: list[Any] = list(callbacks)
    return TorchTrainer(
        _train_on_worker,  # type: ignore[arg-type]  # the type asked for is the first version's
        train_loop_config={"config": config, "cutoff": rows.cutoff, "say": say, "scoring": scoring},
        datasets=datasets,
        dataset_config=ray.train.DataConfig(datasets_to_split=[]),
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.workers,
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


def load_shards(
    graphs: str, labels: Labels, train: NDArray[np.int64], workers: int
) -> list[ray.data.Dataset]:
    """Return each worker's run of the training rows, read by Ray and held in its object store.

    The runs depend on rows and workers alone, so that a restarted training finds its own again.
    """
    rows, targets = labels.rows[train], labels.targets[train]
    pieces = plan_rows(graphs, ROWS_PER_BLOCK)
    bounds = [len(rows) * rank // workers for rank in range(workers + 1)]
    shards = []
    for first, last in pairwise(bounds):
        read = partial(_read_rows, rows=rows[first:last], targets=targets[first:last], first=first)
        chosen = [piece for piece in pieces if _overlaps(piece, rows[first:last])]
        dataset = ray.data.from_items(
            [{"piece": ray.cloudpickle.dumps(piece)} for piece in chosen]
        ).map_batches(read, batch_size=1)
        shards.append(dataset.materialize())
    return shards


def _overlaps(piece: RowSlice, rows: NDArray[np.int64]) -> bool:
    last = piece.first_row + piece.stop - piece.start
    return bool(np.searchsorted(rows, piece.first_row) < np.searchsorted(rows, last))


def _read_rows(
    batch: dict[str, Any], rows: NDArray[np.int64], targets: NDArray[np.float64], first: int
) -> pa.Table:
    """Return the given rows of one slice: their number among the training rows, target, graph."""
    piece = ray.cloudpickle.loads(batch["piece"][0])
    begin, end = np.searchsorted(
        rows, [piece.first_row, piece.first_row + piece.stop - piece.start]
    )
    table = read_slice(piece).select(list(GRAPH_COLUMNS))
    table = table.take(rows[begin:end] - piece.first_row)
    table = table.append_column("row", pa.array(np.arange(begin, end) + first))
    return table.append_column("target", pa.array(targets[begin:end]))


def _train_on_worker(settings: dict[str, Any]) -> str | None:
    """Train on one worker of several: hold a shard, take part in every step, write checkpoints.

    Returns why the training cannot go on, None if it is done. An error would be taken for a worker's,
    and training begun again from the last checkpoint.
    """
    config: TrainConfig = settings["config"]
    scoring: Scoring | None = settings["scoring"]
    torch.set_num_threads(config.cpus_per_worker)
    keep_freed_memory()
    context = ray.train.get_context()
    communicator: Communicator = ProcessGroup() if context.get_world_size() > 1 else SingleProcess()
    shard = _read_shard(f"shard-{context.get_world_rank()}", settings["cutoff"], config)
    trainer = Trainer(
        _initial_network(config),
        shard,
        config,
        communicator,
        get_device() if config.gpu else "cpu",
    )
    validator = None
    if scoring is not None:
        held_out = _read_shard(VALIDATION, settings["cutoff"], config)
        validator = Validator(config, scoring.head, shard, held_out)
    curve: list[dict[str, float]] = []
    if checkpoint := ray.train.get_checkpoint():
        saved = _read(checkpoint)
        trainer.load_state_dict(saved["trainer"])
        curve = saved["curve"]
        if communicator.rank == 0:
            settings["say"](f"train: goes on after epoch {trainer.epoch}")
        if scoring is not None:
            report_again(curve, scoring.reported)
    progress = _Progress(settings["say"], config.epochs, trainer.epoch)

    def after_epoch(record: EpochRecord) -> None:
        curve.append({"loss": record.loss, "learning_rate": record.learning_rate})
        if communicator.rank == 0:
            progress(record)
        if record.epoch % config.checkpoint_every == 0 or record.epoch == config.epochs:
            if validator is not None:
                curve[-1]["validation_mae"] = validator.mae(trainer)
            _report(trainer, curve)
        if scoring is not None:
            scoring.check(trainer)

    try:
        trainer.run(after_epoch)
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


def _read_shard(name: str, made_with: float, config: TrainConfig) -> Shard:
    assert config.cutoff is not None
    batches = ray.train.get_dataset_shard(name).iter_batches(
        batch_size=None, batch_format="pyarrow"
    )
    table = pa.concat_tables(batches).sort_by("row")
    return Shard(
        Graphs.from_table(with_cutoff(table, made_with), config.cutoff),
        table.column("target").to_numpy(),
        table.column("row")[0].as_py(),
    )


def _report(trainer: Trainer, curve: list[dict[str, float]]) -> None:
    """Register a checkpoint of the first worker; all workers' states are the same."""
    metrics = {"epoch": trainer.epoch, **curve[-1]}
    if trainer.communicator.rank > 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        readout = trainer.trained(curve).readout
        content = {
            "trainer": trainer.state_dict(),
            "curve": curve,
            "readout": (torch.from_numpy(readout.slope), readout.intercept) if readout else None,
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
