"""The work of a training: graphs, the network on either engine, then the heads and the model folder."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pyarrow as pa

from emrl_ray.commands.engine import Engine, start
from emrl_ray.commands.featurize import featurize
from emrl_ray.config import FeaturizeConfig, TrainConfig, UserError
from emrl_ray.config.errors import StorageError, one_line, user_message
from emrl_ray.crystals.counts import RowCounts, summary_line
from emrl_ray.crystals.schema import Reject, rejects_table
from emrl_ray.distributed.cluster import call_in_task, in_job, offered
from emrl_ray.distributed.training.local_training import train_locally
from emrl_ray.distributed.training.shards import TrainingRows
from emrl_ray.features.element_properties import default_csv
from emrl_ray.io.atomic import write_json
from emrl_ray.io.console import log
from emrl_ray.io.parquet import read_table, write_parquet
from emrl_ray.io.paths import Location, list_files, remove, resolve
from emrl_ray.model import Card, read_card, read_state
from emrl_ray.model.fit import fit_model
from emrl_ray.model.labels import Labels, read_labels, split_labels
from emrl_ray.networks import network_type
from emrl_ray.networks.base import NetworkSpec
from emrl_ray.training.evaluation import MIN_ROWS, Split
from emrl_ray.training.losses import loss_function
from emrl_ray.training.trainer import TrainedNetwork

MIN_CALIBRATION = 9
"""Rows below which a 90 % interval is infinite (`model.uncertainty.ConformalCalibration`)."""


def train_model(config: TrainConfig, engine: Engine, dataset: str, work: str) -> Card:
    """Train in a folder that is ours, and return the card of the model.

    `dataset` is the fingerprint of the crystals, `work` a folder for graphs and checkpoints, deleted
    at the end. Raises UserError, in one line, for what cannot be trained.
    """
    folder = resolve(config.out)
    start(engine, config.address)
    if engine == "ray":
        check_resources(config)
    graphs = config.graphs or featurize_rows(config, engine, f"{work}/graphs")
    labels, rejects = read_labels(graphs, config.target, config.crystals, config.cutoff)
    split = split_labels(labels, config)
    if len(split.train) < MIN_ROWS:
        raise UserError(
            f"--test {config.test} --calibration {config.calibration}: leave {len(split.train)} rows "
            f"for training, at least {MIN_ROWS} are needed"
        )
    trained = _train_network(config, engine, TrainingRows.of(graphs, labels, split.train), work)
    counts = write_rejects(folder, graphs, labels, rejects)  # before the card, the mark of the end
    fit = partial(_fit_and_save, config, trained, graphs, labels, split, dataset)
    card = fit() if engine == "local" else call_in_task(fit, config.cpus_per_worker)
    if isinstance(card, Exception):
        raise card
    remove(resolve(work))
    _summarize(config, card, counts)
    return card


def _train_network(
    config: TrainConfig, engine: Engine, rows: TrainingRows, work: str
) -> TrainedNetwork:
    """Return the trained network; without epochs that of the model `config.init`."""
    if config.epochs == 0:
        assert config.init is not None
        return TrainedNetwork(read_state(config.init), None, [])
    if engine == "local":
        return train_locally(config, rows, work)
    from emrl_ray.distributed.training.network import train_with_ray

    return train_with_ray(config, rows, work)


def check_names(config: TrainConfig) -> None:
    """Raise UserError, in one line, for a loss or a network that cannot be trained so."""
    loss_function(config.loss)
    batch_norms = network_type(config.network).batch_norms
    if config.batch_norm not in batch_norms:
        raise UserError(
            f"--batch-norm {config.batch_norm}: --network {config.network} has {', '.join(batch_norms)}"
        )
    if config.init is None:
        return
    card = read_card(config.init)
    for name in ("network", *NetworkSpec._fields):
        if getattr(card, name) != getattr(config, name):
            raise UserError(
                f"--init {config.init}: its {name} is {getattr(card, name)}, "
                f"--{name} is {getattr(config, name)}"
            )
    if (resolve(config.init) / "elements.csv").read_bytes() != default_csv():
        raise UserError(f"--init {config.init}: was made with another table of elements")


def check_resources(config: TrainConfig) -> None:
    """Raise UserError if a cluster of our own, which cannot grow, is too small for the workers."""
    if config.address is not None or in_job():
        return
    there, workers = offered(), config.min_workers or config.workers
    needed = {"CPU": workers * config.cpus_per_worker, "GPU": workers * config.gpu}
    for name, count in needed.items():
        if count > there.get(name, 0):
            raise UserError(
                f"--{'min-' if config.min_workers else ''}workers {workers}: needs {count} {name}s, "
                f"the cluster has {there.get(name, 0):g}"
            )


def featurize_rows(config: TrainConfig, engine: Engine, out: str) -> str:
    """Write the graphs table of a training's crystals, and return its path or URI."""
    assert config.cutoff is not None
    return featurize(
        FeaturizeConfig(
            crystals=config.crystals,
            out=out,
            cutoff=config.cutoff,
            max_atoms=config.max_atoms,
            max_pairs=config.max_pairs,
            min_distance=config.min_distance,
            engine=engine,
        )
    ).graphs


def _fit_and_save(
    config: TrainConfig,
    trained: TrainedNetwork,
    graphs: str,
    labels: Labels,
    split: Split,
    dataset: str,
) -> Card | UserError:
    """Fit the heads, write the model and return its card, or an error of the user's in one line.

    What a task raises comes to the driver with the lines of its traceback.
    """
    try:
        model = fit_model(config, trained, graphs, labels, split, dataset, config.cpus_per_worker)
        write_json(trained.curve, resolve(config.out) / "learning_curve.json")
        model.save(config.out)
    except OSError as error:
        return StorageError(one_line(error))
    except ValueError as error:
        if (told := user_message(error)) is None:
            raise
        return UserError(told)
    return model.card


def write_rejects(
    folder: Location, graphs: str, labels: Labels, unlabelled: list[Reject]
) -> RowCounts:
    """Write the rejects of featurize and those without a label beside the model."""
    tables = [rejects_table(unlabelled)]
    if list_files(resolve(graphs) / "_rejects", ".parquet"):
        tables.insert(0, read_table(f"{graphs}/_rejects"))
    rejects = pa.concat_tables(tables)
    if rejects.num_rows:
        write_parquet(rejects, folder / "rejects.parquet")
    reasons = Counter(str(reason) for reason in rejects.column("reason").to_pylist())
    rows = len(labels.rows)
    return RowCounts(rows + rejects.num_rows, rows, reasons)


def _summarize(config: TrainConfig, card: Card, counts: RowCounts) -> None:
    log(summary_line("train", counts))
    unit = f" {card.unit}" if card.unit else ""
    for part in ("calibration", "test"):
        scores = dict(card.metrics.get(part, {}))
        floors = scores.pop("floors", {})
        for name, figures in [*scores.items(), *floors.items()]:
            kind = "floor, " if name in floors else ""
            log(
                f"train: {part} ({card.rows[part]:,} rows) {kind}{name}: "
                f"MAE {figures['mae']:.4f}{unit}, R² {figures['r2']:.4f}"
            )
    if 0 < card.rows["calibration"] < MIN_CALIBRATION:
        log(
            f"train: {card.rows['calibration']} calibration rows are too few for 90 % intervals "
            f"(at least {MIN_CALIBRATION}): they are infinite"
        )
    chosen = "best head" if card.rows["calibration"] else "default head (none was compared)"
    log(f"train: model in {config.out}, {chosen} {card.best_head}")
