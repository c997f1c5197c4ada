"""Train: embedding network on data parallel workers, then the heads, into a model folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import NamedTuple

import pyarrow as pa
import ray

from emrl_ray.complaints import complaint
from emrl_ray.config import ConfigError, FeaturizeConfig, TrainConfig
from emrl_ray.crystals.accounting import Counts, account
from emrl_ray.crystals.fingerprints import folder_fingerprint, table_fingerprint
from emrl_ray.crystals.storage import (
    Location,
    absolute,
    list_files,
    locate,
    read_table,
    remove,
    table_schema,
    write_json,
    write_parquet,
)
from emrl_ray.crystals.tables import Reject, check_crystal_schema, check_target, rejects_table
from emrl_ray.evaluation import LEAST_ROWS, Split
from emrl_ray.features.elements import default_csv
from emrl_ray.features.graphs import SOURCE_KEY, table_cutoff
from emrl_ray.fitting import (
    Labels,
    check_unique_ids,
    count_labels,
    fit_model,
    read_labels,
    split_labels,
)
from emrl_ray.losses import loss_function
from emrl_ray.model import CARD, Card, read_card
from emrl_ray.networks import network_type
from emrl_ray.networks.network import NetworkSpec
from emrl_ray.pipelines.cluster import connect, in_job
from emrl_ray.pipelines.featurize import featurize
from emrl_ray.pipelines.network import train_network
from emrl_ray.resuming.runs import Job, refuse_input_as_output
from emrl_ray.terminal import one_line
from emrl_ray.training import TrainedNetwork

WORK = "_training"
LEAST_CALIBRATION = 9
"""Rows below which a 90 % interval is infinite (`trust.Calibration`)."""


class TrainResult(NamedTuple):
    """What train left."""

    model: str
    """Path or URI of the model folder."""
    card: Card


def train(config: TrainConfig) -> TrainResult:
    """Train a model; called again with the same options it goes on from the last checkpoint."""
    check(config)  # as the user named things
    config = _absolute(config)
    folder = locate(config.out)
    dataset = table_fingerprint(config.crystals)
    inputs = {"crystals": dataset}
    if config.graphs:
        inputs["graphs"] = table_fingerprint(config.graphs)
    if config.init:
        inputs["init"] = folder_fingerprint(config.init)
    job = Job("train", folder, asdict(config), inputs)
    with job.held(config.overwrite):
        job.open(config.overwrite)
        if (folder / CARD).exists():
            remove(folder / WORK)  # a kill may have left it
            print(f"train: {config.out} is finished, nothing to do (--overwrite starts anew)")
            return TrainResult(config.out, read_card(config.out))
        return _train(config, dataset)


def _absolute(config: TrainConfig) -> TrainConfig:
    return replace(
        config,
        out=absolute(config.out),
        crystals=absolute(config.crystals),
        graphs=absolute(config.graphs) if config.graphs else None,
        init=absolute(config.init) if config.init else None,
    )


def _train(config: TrainConfig, dataset: str) -> TrainResult:
    """Train in a folder that is ours; `dataset` is the fingerprint of the crystals."""
    folder, work = locate(config.out), f"{config.out}/{WORK}"
    connect(config.address)
    check_resources(config)
    graphs = config.graphs or featurize_rows(config, f"{work}/graphs")
    labels, rejects = read_labels(graphs, config.target, config.crystals, config.cutoff)
    split = split_labels(labels, config)
    if len(split.train) < LEAST_ROWS:
        raise ConfigError(
            f"--test {config.test} --calibration {config.calibration}: leave {len(split.train)} rows "
            f"for training, at least {LEAST_ROWS} are needed"
        )
    trained = train_network(config, graphs, labels, split.train, work)
    counts = write_rejects(folder, graphs, labels, rejects)  # before the card, the mark of the end
    fit = ray.remote(_fit_and_save).options(num_cpus=config.cpus_per_worker)
    card = ray.get(fit.remote(config, trained, graphs, labels, split, dataset))
    if isinstance(card, Exception):
        raise card
    remove(locate(work))
    _summarize(config, card, counts)
    return TrainResult(config.out, card)


def check(config: TrainConfig) -> None:
    """Raise ConfigError or ValueError, in one line and before any work, for what cannot be done."""
    refuse_input_as_output(
        config.out, crystals=config.crystals, graphs=config.graphs, init=config.init
    )
    check_names(config)
    schema = table_schema(config.crystals)
    check_crystal_schema(schema, config.crystals)
    check_target(schema, config.target, config.crystals)
    labelled = count_labels(config.crystals, config.target)
    if labelled < LEAST_ROWS:
        raise ConfigError(
            f"{config.crystals}: {labelled} rows with a {config.target}, at least {LEAST_ROWS} are needed"
        )
    check_unique_ids(config.crystals)
    if config.graphs:
        _check_graphs(config, config.graphs)


def check_names(config: TrainConfig) -> None:
    """Raise ConfigError or ValueError, in one line, for a loss or a network that cannot be trained so."""
    loss_function(config.loss)
    batch_norms = network_type(config.network).batch_norms
    if config.batch_norm not in batch_norms:
        raise ConfigError(
            f"--batch-norm {config.batch_norm}: --network {config.network} has {', '.join(batch_norms)}"
        )
    if config.init is None:
        return
    card = read_card(config.init)
    for name in ("network", *NetworkSpec._fields):
        if getattr(card, name) != getattr(config, name):
            raise ConfigError(
                f"--init {config.init}: its {name} is {getattr(card, name)}, "
                f"--{name} is {getattr(config, name)}"
            )
    if (locate(config.init) / "elements.csv").read_bytes() != default_csv():
        raise ConfigError(f"--init {config.init}: was made with another table of elements")


def _check_graphs(config: TrainConfig, graphs: str) -> None:
    """Raise ConfigError, in one line, for a graphs table that is not one of these crystals."""
    try:
        schema = table_schema(graphs)
        made_with = table_cutoff(schema)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--graphs {error}") from None
    assert config.cutoff is not None
    if made_with < config.cutoff:
        raise ConfigError(
            f"--graphs {graphs}: has pairs up to {made_with} Å, --cutoff is {config.cutoff}"
        )
    if (schema.metadata or {}).get(SOURCE_KEY) != table_fingerprint(config.crystals).encode():
        raise ConfigError(f"--graphs {graphs}: was not made from {config.crystals} as it is now")


def check_resources(config: TrainConfig) -> None:
    """Raise ConfigError if a cluster of our own, which cannot grow, is too small for the workers."""
    if config.address is not None or in_job():
        return
    offered, workers = ray.cluster_resources(), config.min_workers or config.workers
    needed = {"CPU": workers * config.cpus_per_worker, "GPU": workers * config.gpu}
    for name, count in needed.items():
        if count > offered.get(name, 0):
            raise ConfigError(
                f"--{'min-' if config.min_workers else ''}workers {workers}: needs {count} {name}s, "
                f"the cluster has {offered.get(name, 0):g}"
            )


def featurize_rows(config: TrainConfig, out: str) -> str:
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
        )
    ).graphs


def _fit_and_save(
    config: TrainConfig,
    trained: TrainedNetwork,
    graphs: str,
    labels: Labels,
    split: Split,
    dataset: str,
) -> Card | ValueError | OSError:
    """Fit the heads, write the model and return its card, or an error of the user's in one line.

    What a task raises comes to the driver with the lines of its traceback.
    """
    try:
        model = fit_model(config, trained, graphs, labels, split, dataset, config.cpus_per_worker)
        write_json(trained.curve, locate(config.out) / "learning_curve.json")
        model.save(config.out)
    except OSError as error:
        return OSError(one_line(error))
    except ValueError as error:
        if (told := complaint(error)) is None:
            raise
        return ValueError(told)
    return model.card


def write_rejects(
    folder: Location, graphs: str, labels: Labels, unlabelled: list[Reject]
) -> Counts:
    """Write the rejects of featurize and those without a label beside the model."""
    tables = [rejects_table(unlabelled)]
    if list_files(locate(graphs) / "_rejects", ".parquet"):
        tables.insert(0, read_table(f"{graphs}/_rejects"))
    rejects = pa.concat_tables(tables)
    if rejects.num_rows:
        write_parquet(rejects, folder / "rejects.parquet")
    reasons = Counter(str(reason) for reason in rejects.column("reason").to_pylist())
    rows = len(labels.rows)
    return Counts(rows + rejects.num_rows, rows, reasons)


def _summarize(config: TrainConfig, card: Card, counts: Counts) -> None:
    print(account("train", counts))
    unit = f" {card.unit}" if card.unit else ""
    for part in ("calibration", "test"):
        scores = dict(card.metrics.get(part, {}))
        floors = scores.pop("floors", {})
        for name, figures in [*scores.items(), *floors.items()]:
            kind = "floor, " if name in floors else ""
            print(
                f"train: {part} ({card.rows[part]:,} rows) {kind}{name}: "
                f"MAE {figures['mae']:.4f}{unit}, R² {figures['r2']:.4f}"
            )
    if 0 < card.rows["calibration"] < LEAST_CALIBRATION:
        print(
            f"train: {card.rows['calibration']} calibration rows are too few for 90 % intervals "
            f"(at least {LEAST_CALIBRATION}): they are infinite"
        )
    chosen = "best head" if card.rows["calibration"] else "default head (none was compared)"
    print(f"train: model in {config.out}, {chosen} {card.best_head}", flush=True)
