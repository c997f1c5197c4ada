"""From a trained network to a model: heads, calibration, scores and reference set."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.config import NetworkConfig, OptimizationConfig, TrainConfig
from emrl_ray.config.errors import UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, GEOMETRY
from emrl_ray.crystals.units import number_field
from emrl_ray.features.element_properties import default_csv
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.representation import GraphRepresentation, Representation
from emrl_ray.io.parquet import iter_tables, read_table
from emrl_ray.io.runtime import limited_threads, package_versions
from emrl_ray.model import Card, Model, ModelTables, open_network
from emrl_ray.model.heads import HEADS, Head, ReadoutHead
from emrl_ray.model.labels import Labels
from emrl_ray.model.prediction_table import bounds, coordinates
from emrl_ray.model.uncertainty import (
    ApplicabilityDomain,
    ConformalCalibration,
    NearestNeighborIndex,
    PcaMap,
    Uncertainty,
    residuals_of_best,
)
from emrl_ray.training.evaluation import Split, baselines, score
from emrl_ray.training.trainer import TrainedNetwork

CRYSTALS_AT_ONCE = 2048
"""Crystals that a network embeds at a time: it may hold all of their pairs."""


def fit_model(
    config: TrainConfig,
    trained: TrainedNetwork,
    graphs: str,
    labels: Labels,
    split: Split,
    dataset: str,
    threads: int = 1,
) -> Model:
    """Return the model of a trained network: fit the heads on the training rows' embeddings.

    A network that was trained with a readout has it as a further head. The best head is the one with
    the least error on the calibration rows; without such rows it is the readout, or else the last
    one that was asked for. Its own calibration is by the residuals of such a choice
    (`residuals_of_best`).
    """
    elements_csv = default_csv()
    card = _card(config, labels, split, dataset)
    representation = open_network(card, trained.state, elements_csv, threads)
    crystals = read_crystals(config.crystals, labels.ids)
    with limited_threads(threads):
        embeddings = embed_graphs(representation, graphs, card.cutoff)[labels.rows]
        heads = {name: HEADS[name](seed=config.seed, threads=threads) for name in config.heads}
        for head in heads.values():
            head.fit(embeddings[split.train], labels.targets[split.train])
        if trained.readout is not None:
            heads["readout"] = ReadoutHead.of(*trained.readout)
        metrics = _metrics(heads, embeddings, labels, split)
        known = NearestNeighborIndex(embeddings[split.train])
        best = list(heads)[-1]
        if len(split.calibration):
            best = min(heads, key=lambda name: metrics["calibration"][name]["mae"])
        calibrations = _calibrations(heads, best, embeddings, known, labels, split.calibration)
        training = crystals.take(split.train).combine_chunks()
        domain = _domain(representation, training, config.min_occurrences)
    chosen = {name: head.chosen for name, head in heads.items()}
    card = replace(card, heads=chosen, best_head=best, metrics=metrics)
    reference = _reference(labels, embeddings, split.train, config.target, training)
    calibration = calibrations.get(best)
    held_out = _held_out(heads[best], calibration, embeddings, known, labels, split, crystals)
    return Model(
        card,
        representation,
        heads,
        Uncertainty(calibrations, domain),
        ModelTables(lambda: reference, lambda: held_out),
        trained.state,
        elements_csv,
    )


def read_crystals(table: str, ids: pa.Array) -> pa.Table:
    """Return the geometry of the crystals with these ids, in their order.

    Raises UserError, in one line, if the table has not all of them.
    """
    geometry = read_table(table, columns=["id", *GEOMETRY])
    rows = pc.index_in(ids, geometry.column("id").combine_chunks())
    if rows.null_count:
        missing = ids.filter(rows.is_null())[0].as_py()
        raise UserError(f"{table}: has no crystal {missing!r} any more")
    return geometry.take(rows).select(GEOMETRY).combine_chunks()


def embed_graphs(
    representation: GraphRepresentation, graphs: str, cutoff: float
) -> NDArray[np.float32]:
    """Return the embeddings (rows, width) of a whole graphs table, file by file."""
    parts = [np.zeros((0, representation.width), np.float32)]
    for table in iter_tables(graphs):
        batch = Graphs.from_table(table, cutoff)
        parts.append(representation.embed_graphs(batch))
    return np.concatenate(parts).astype(np.float32)


def _card(config: TrainConfig, labels: Labels, split: Split, dataset: str) -> Card:
    assert config.cutoff is not None
    options = [*fields(NetworkConfig), *fields(OptimizationConfig)]
    hyperparameters = {entry.name: getattr(config, entry.name) for entry in options}
    hyperparameters |= {"preset": config.preset, "init": config.init, "split": config.split}
    hyperparameters |= {"test": config.test, "calibration": config.calibration}
    hyperparameters |= {"min_occurrences": config.min_occurrences}
    return Card(
        target=config.target,
        unit=labels.unit,
        theory=labels.theory,
        network=config.network,
        cutoff=config.cutoff,
        elements=config.elements,
        basis=config.basis,
        width=config.width,
        heads={},
        best_head="",
        rows={name: len(part) for name, part in split._asdict().items()},
        metrics={},
        dataset=dataset,
        hyperparameters=hyperparameters,
        versions=package_versions(),
    )


def _metrics(
    heads: dict[str, Head], embeddings: NDArray[np.float32], labels: Labels, split: Split
) -> dict[str, Any]:
    """Return the scores by part and head, and the floors of the last part that has rows."""
    metrics: dict[str, Any] = {}
    for part, rows in split._asdict().items():
        if len(rows) == 0:
            continue
        metrics[part] = {
            name: score(head.predict(embeddings[rows]), labels.targets[rows])._asdict()
            for name, head in heads.items()
        }
        if part != "train":
            floor = baselines(
                labels.targets[split.train],
                labels.formulas.take(split.train),
                labels.targets[rows],
                labels.formulas.take(rows),
            )
            metrics[part]["floors"] = {
                name: scores._asdict() for name, scores in floor._asdict().items()
            }
    return metrics


def _calibrations(
    heads: dict[str, Head],
    best: str,
    embeddings: NDArray[np.float32],
    known: NearestNeighborIndex,
    labels: Labels,
    rows: NDArray[np.int64],
) -> dict[str, ConformalCalibration]:
    if len(rows) == 0:
        return {}
    _, distances = known.query(embeddings[rows])
    residuals = {
        name: labels.targets[rows] - head.predict(embeddings[rows]) for name, head in heads.items()
    }
    residuals[best] = residuals_of_best(np.stack(list(residuals.values())))
    return {name: ConformalCalibration(values, distances) for name, values in residuals.items()}


def _domain(
    representation: Representation, crystals: pa.Table, min_occurrences: int
) -> ApplicabilityDomain:
    batch = CrystalBatch.from_arrow(crystals)
    parts = [
        representation.embed_with_features(batch.slice(start, start + CRYSTALS_AT_ONCE))
        for start in range(0, batch.n_crystals, CRYSTALS_AT_ONCE)
    ]
    features = [part for _, part in parts if part is not None]
    return ApplicabilityDomain.fit(
        batch,
        find_contacts(batch),
        np.concatenate(features) if features else None,
        np.concatenate([embeddings for embeddings, _ in parts]),
        min_occurrences,
    )


def _held_out(
    head: Head,
    calibration: ConformalCalibration | None,
    embeddings: NDArray[np.float32],
    known: NearestNeighborIndex,
    labels: Labels,
    split: Split,
    crystals: pa.Table,
) -> pa.Table:
    """Return calibration and test rows: predictions, 90 % intervals if there are any, and geometry."""
    rows = np.concatenate([split.calibration, split.test])
    parts = ["calibration"] * len(split.calibration) + ["test"] * len(split.test)
    values = head.predict(embeddings[rows]) if len(rows) else np.zeros(0)
    _, distances = known.query(embeddings[rows])
    ends = calibration.interval(values, distances) if calibration else None
    columns = {
        "target": pa.array(labels.targets[rows]),
        "prediction": pa.array(values),
        **bounds(ends, len(rows)),
    }
    return pa.Table.from_arrays(
        [
            labels.ids.take(rows),
            pa.array(parts, pa.string()),
            *columns.values(),
            *crystals.take(rows).combine_chunks().columns,
        ],
        schema=pa.schema(
            [
                CRYSTAL_SCHEMA.field("id"),
                pa.field("part", pa.string()),
                *(number_field(name, labels.unit) for name in columns),
                *(CRYSTAL_SCHEMA.field(name) for name in GEOMETRY),
            ]
        ),
    )


def _reference(
    labels: Labels,
    embeddings: NDArray[np.float32],
    rows: NDArray[np.int64],
    target: str,
    crystals: pa.Table,
) -> pa.Table:
    """Return the rows of training, whose geometry is `crystals`, as the model keeps them."""
    width = embeddings.shape[1]
    flat = pa.array(np.ascontiguousarray(embeddings[rows]).reshape(-1))
    on_map = coordinates(PcaMap.of(embeddings[rows]).project(embeddings[rows]))
    schema = pa.schema(
        [
            CRYSTAL_SCHEMA.field("id"),
            CRYSTAL_SCHEMA.field("formula"),
            number_field(target, labels.unit),
            pa.field("embedding", pa.list_(pa.float32(), width)),
            *(pa.field(name, pa.float32()) for name in on_map),
            *(CRYSTAL_SCHEMA.field(name) for name in GEOMETRY),
        ]
    )
    return pa.Table.from_arrays(
        [
            labels.ids.take(rows),
            labels.formulas.take(rows),
            pa.array(labels.targets[rows]),
            pa.FixedSizeListArray.from_arrays(flat, width),
            *on_map.values(),
            *crystals.columns,
        ],
        schema=schema,
    )
