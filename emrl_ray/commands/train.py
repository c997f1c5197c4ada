"""Train: check the options, then make a model or resume one that was begun.

Nothing here needs torch, so that a wrong option is refused at once; `train_model` does the work.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import NamedTuple

from emrl_ray.commands.engine import choose_engine
from emrl_ray.config import TrainConfig, UserError
from emrl_ray.crystals.schema import check_crystal_schema, check_target
from emrl_ray.features.graphs import SOURCE_KEY, table_cutoff
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import folder_fingerprint, table_fingerprint
from emrl_ray.io.parquet import ParquetTable, table_schema
from emrl_ray.io.paths import absolute_uri, remove, resolve
from emrl_ray.model import CARD, Card, read_card
from emrl_ray.model.labels import check_unique_ids, count_labels
from emrl_ray.runs.run_directory import RunDirectory, refuse_input_as_output
from emrl_ray.training.evaluation import MIN_ROWS

WORK = "_training"


class TrainResult(NamedTuple):
    """What train left."""

    model: str
    """Path or URI of the model folder."""
    card: Card


def train(config: TrainConfig) -> TrainResult:
    """Train a model; called again with the same options it goes on from the last checkpoint."""
    check(config)  # as the user named things
    config = _absolute(config)
    folder = resolve(config.out)
    dataset = table_fingerprint(config.crystals)
    inputs = {"crystals": dataset}
    if config.graphs:
        inputs["graphs"] = table_fingerprint(config.graphs)
    if config.init:
        inputs["init"] = folder_fingerprint(config.init)
    directory = RunDirectory("train", folder, asdict(config), inputs)
    with directory.locked(config.overwrite):
        directory.claim(config.overwrite)
        if (folder / CARD).exists():
            remove(folder / WORK)  # a kill may have left it
            log(f"train: {config.out} is finished, nothing to do (--overwrite starts anew)")
            return TrainResult(config.out, read_card(config.out))
        from emrl_ray.commands.train_model import train_model

        engine = choose_engine("train", config, ParquetTable.of(config.crystals).num_rows)
        return TrainResult(config.out, train_model(config, engine, dataset, f"{config.out}/{WORK}"))


def _absolute(config: TrainConfig) -> TrainConfig:
    return replace(
        config,
        out=absolute_uri(config.out),
        crystals=absolute_uri(config.crystals),
        graphs=absolute_uri(config.graphs) if config.graphs else None,
        init=absolute_uri(config.init) if config.init else None,
    )


def check(config: TrainConfig) -> None:
    """Raise UserError, in one line and before any work, for what cannot be done."""
    refuse_input_as_output(
        config.out, crystals=config.crystals, graphs=config.graphs, init=config.init
    )
    schema = table_schema(config.crystals)
    check_crystal_schema(schema, config.crystals)
    check_target(schema, config.target, config.crystals)
    labelled = count_labels(config.crystals, config.target)
    if labelled < MIN_ROWS:
        raise UserError(
            f"{config.crystals}: {labelled} rows with a {config.target}, at least {MIN_ROWS} are needed"
        )
    check_unique_ids(config.crystals)
    if config.graphs:
        _check_graphs(config, config.graphs)
    from emrl_ray.commands.train_model import check_names

    check_names(config)


def _check_graphs(config: TrainConfig, graphs: str) -> None:
    """Raise UserError, in one line, for a graphs table that is not one of these crystals."""
    try:
        schema = table_schema(graphs)
        made_with = table_cutoff(schema)
    except (OSError, ValueError) as error:
        raise UserError(f"--graphs {error}") from None
    assert config.cutoff is not None
    if made_with < config.cutoff:
        raise UserError(
            f"--graphs {graphs}: has pairs up to {made_with} Å, --cutoff is {config.cutoff}"
        )
    if (schema.metadata or {}).get(SOURCE_KEY) != table_fingerprint(config.crystals).encode():
        raise UserError(f"--graphs {graphs}: was not made from {config.crystals} as it is now")
