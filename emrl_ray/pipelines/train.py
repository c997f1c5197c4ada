"""Train: embedding network on data parallel workers, then the heads, into a model folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import NamedTuple

import pyarrow as pa
import ray

from emrl_ray.config import ConfigError, FeaturizeConfig, TrainConfig
from emrl_ray.crystals.accounting import Counts, account
from emrl_ray.crystals.fingerprints import table_fingerprint
from emrl_ray.crystals.storage import (
    Location,
    list_files,
    locate,
    read_table,
    remove,
    table_schema,
    write_json,
    write_parquet,
)
from emrl_ray.crystals.tables import Reject, check_crystal_schema, check_target, rejects_table
from emrl_ray.evaluation import Split
from emrl_ray.features.graphs import table_cutoff
from emrl_ray.fitting import Labels, fit_model, read_labels, split_labels
from emrl_ray.losses import loss_function
from emrl_ray.model import CARD, Card, read_card
from emrl_ray.networks import network_type
from emrl_ray.pipelines.cluster import connect, in_job
from emrl_ray.pipelines.featurize import featurize
from emrl_ray.pipelines.network import TrainedNetwork, train_network
from emrl_ray.pipelines.runs import open_folder

WORK = "_training"


class TrainResult(NamedTuple):
    """What train left."""

    model: str
    """Path or URI of the model folder."""
    card: Card


def train(config: TrainConfig) -> TrainResult:
    """Train a model; called again with the same options it goes on from the last checkpoint."""
    _check(config)
    folder, work = locate(config.out), f"{config.out}/{WORK}"
    dataset = table_fingerprint(config.crystals)
    open_folder(folder, asdict(config), config.overwrite, {"crystals": dataset})
    if (folder / CARD).exists():
        print(f"train: {config.out} is finished, nothing to do (--overwrite starts anew)")
        return TrainResult(config.out, read_card(config.out))
    connect(config.address)
    _check_resources(config)
    graphs = config.graphs or _featurize(config, f"{work}/graphs")
    labels, rejects = read_labels(graphs, config.target, config.crystals)
    split = split_labels(labels, config)
    trained = train_network(config, graphs, labels, split.train, work)
    fit = ray.remote(_fit_and_save).options(num_cpus=config.cpus_per_worker)
    card = ray.get(fit.remote(config, trained, graphs, labels, split, dataset))
    counts = _write_rejects(folder, graphs, labels, rejects)
    remove(locate(work))
    _summarize(config, card, counts)
    return TrainResult(config.out, card)


def _check(config: TrainConfig) -> None:
    """Raise ConfigError or ValueError, in one line and before any work, for what cannot be done."""
    network_type(config.network)
    loss_function(config.loss)
    schema = table_schema(config.crystals)
    check_crystal_schema(schema, config.crystals)
    check_target(schema, config.target, config.crystals)
    assert config.cutoff is not None
    if config.graphs and (made_with := table_cutoff(table_schema(config.graphs))) < config.cutoff:
        raise ConfigError(
            f"--graphs {config.graphs}: has pairs up to {made_with} Å, --cutoff is {config.cutoff}"
        )


def _check_resources(config: TrainConfig) -> None:
    """Raise ConfigError if a cluster of our own, which cannot grow, is too small for the workers."""
    if config.address is not None or in_job():
        return
    offered = ray.cluster_resources()
    needed = {"CPU": config.workers * config.cpus_per_worker, "GPU": config.workers * config.gpu}
    for name, count in needed.items():
        if count > offered.get(name, 0):
            raise ConfigError(
                f"--workers {config.workers}: needs {count} {name}s, "
                f"the cluster has {offered.get(name, 0):g}"
            )


def _featurize(config: TrainConfig, out: str) -> str:
    assert config.cutoff is not None
    return featurize(
        FeaturizeConfig(
            crystals=config.crystals,
            out=out,
            cutoff=config.cutoff,
            max_atoms=config.max_atoms,
            max_pairs=config.max_pairs,
        )
    ).graphs


def _fit_and_save(
    config: TrainConfig,
    trained: TrainedNetwork,
    graphs: str,
    labels: Labels,
    split: Split,
    dataset: str,
) -> Card:
    model = fit_model(config, trained.state, graphs, labels, split, dataset, config.cpus_per_worker)
    write_json(trained.curve, locate(config.out) / "learning_curve.json")
    model.save(config.out)
    return model.card


def _write_rejects(
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
    print(f"train: model in {config.out}, best head {card.best_head}", flush=True)
