"""What a screen is to do, checked before any work: its models, its partitions, and whose its folder is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

from emrl_ray.config import ScreenConfig, UserError
from emrl_ray.config.base import check_name
from emrl_ray.crystals.schema import check_crystal_schema
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import folder_fingerprint, table_fingerprint
from emrl_ray.io.parquet import table_schema
from emrl_ray.io.paths import Location, absolute_uri, resolve
from emrl_ray.io.preflight import check_output_folder
from emrl_ray.model import Card, Model
from emrl_ray.reports.screening.page import PAGE
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.runs.partitions import RowPartition, plan_rows, read_partition
from emrl_ray.runs.run_directory import RunDirectory, refuse_input_as_output
from emrl_ray.screening.delta_sink import DeltaSink
from emrl_ray.screening.filters import Filters
from emrl_ray.screening.objectives import Objective, refuse_the_same
from emrl_ray.screening.screener import Screener, own_columns

TABLE = "predictions.delta"
"""Folder, in that of a run, of the Delta table with its predictions, if no other is named."""
MANY_READINGS = 16
"""Partitions of one row group, each of which reads it whole, beyond which this is worth a word."""

ATOMS_OF_A_SECOND = 400_000
"""Atoms in cells that a CPU predicts in about a second, with intervals, domain and neighbours."""


class RunFiles(NamedTuple):
    """The parts of a run's folder."""

    folder: Location
    output: PartitionedOutput
    manifest: Location
    shortlist: str
    report: str

    @classmethod
    def at(cls, out: str) -> RunFiles:
        """Return the parts of the folder `out`."""
        root, folder = absolute_uri(out).rstrip("/"), resolve(out)
        return cls(
            folder,
            PartitionedOutput(f"{root}/predictions", f"{root}/rejects"),
            folder / "manifest.json",
            f"{root}/shortlist.parquet",
            f"{root}/{PAGE}",
        )


class ScreenPlan(NamedTuple):
    """What is known before any work."""

    directory: RunDirectory
    run: RunFiles
    partitions: list[RowPartition]
    objectives: list[Objective]
    filters: Filters
    first: Model
    """The model that ranks, or ranks first."""
    cards: list[Card]
    """Of the models of all objectives."""
    table: DeltaSink | None
    """Delta table that gets the predictions."""


def prepare(config: ScreenConfig) -> ScreenPlan:
    """Return what is to be done.

    Raises UserError, in one line, for options that cannot be met.
    """
    wanted, objectives = config.wanted(), objectives_of(config)
    run = RunFiles.at(config.out)
    check_output_folder(run.folder, config.out)
    refuse_input_as_output(config.out, crystals=config.crystals)
    for each in wanted:
        refuse_input_as_output(config.out, **{each.option: each.model})
    partitions = _partitions(config)
    models = check_models(config, objectives)
    cards = [model.card for model in models]
    inputs = fingerprints(objectives)
    refuse_the_same(objectives, cards, list(inputs.values()))
    inputs["crystals"] = table_fingerprint(config.crystals)
    directory = RunDirectory(
        "screen", run.folder, asdict(config), inputs, "run.json", called(config)
    )
    plan = ScreenPlan(
        directory, run, partitions, objectives, Filters.of(config), models[0], cards, None
    )
    return plan._replace(table=_table(config, plan, models)) if config.format == "delta" else plan


def objectives_of(config: ScreenConfig) -> list[Objective]:
    """Return what is asked for, that of --target-window, --maximize or --minimize first."""
    return [
        Objective(absolute_uri(model), head, window, config.maximize)
        for _, model, head, window in config.wanted()
    ]


def fingerprints(objectives: Sequence[Objective]) -> dict[str, str]:
    """Return those of the models, by what they are called in the run's record."""
    return {
        option_of(number): folder_fingerprint(objective.model)
        for number, objective in enumerate(objectives)
    }


def called(config: ScreenConfig) -> dict[str, str]:
    """Return what the user calls the models after the first one, by their names in the run's record."""
    return {
        option_of(number): f"--{each.option} {each.model}"
        for number, each in enumerate(config.wanted()[1:], start=1)
    }


def _table(config: ScreenConfig, plan: ScreenPlan, models: Sequence[Model]) -> DeltaSink:
    """Return the Delta table of a run with these models; raises UserError, in one line, if it cannot get the run's rows."""
    root = absolute_uri(config.out).rstrip("/")
    run_id = config.run_id or plan.run.folder.name
    check_name("run_id", run_id)
    table = DeltaSink(
        absolute_uri(config.table or f"{root}/{TABLE}"),
        run_id,
        plan.directory.fingerprint,
        [card.target for card in plan.cards],
    )
    partition = plan.partitions[0]
    limits = ValidationLimits.of(config)
    screener = Screener(models, plan.objectives, plan.filters, limits, config.confidence)
    first = read_partition(partition._replace(stop=partition.start + 1))
    predictions, _ = screener(first, partition.first_row, partition.file)
    table.check(predictions.schema, config.overwrite)
    return table


def _partitions(config: ScreenConfig) -> list[RowPartition]:
    schema = table_schema(config.crystals)
    check_crystal_schema(schema, config.crystals)
    partitions = plan_rows(config.crystals, config.block_rows, ATOMS_OF_A_SECOND)
    if not partitions:
        raise UserError(f"{config.crystals}: the table has no rows")
    if own := own_columns(schema):
        log(
            f"screen: {config.crystals}: columns with names of those that a screen writes are left "
            f"out, rename them to keep them: {', '.join(own)}",
        )
    readings = max(
        Counter((partition.file, partition.row_group) for partition in partitions).values()
    )
    if readings > MANY_READINGS:
        log(
            f"screen: {config.crystals} has large row groups, each of which is read up to "
            f"{readings} times; a table that `ingest` wrote has small ones and is faster",
        )
    return partitions


def option_of(number: int) -> str:
    """Return what the model of an objective is called in the run's record."""
    return "model" if number == 0 else f"model{number + 1}"


def check_models(config: ScreenConfig, objectives: Sequence[Objective]) -> list[Model]:
    """Return the models of the objectives, loaded.

    Raises UserError, in one line, if one cannot do what is asked.
    """
    models = [Model.load(objective.model) for objective in objectives]
    for model, objective in zip(models, objectives, strict=True):
        head = model.read_head(objective.head)
        if objective.window is not None and head not in model.calibrations:
            raise UserError(
                f"target window {objective.window_text}: {objective.model} has no calibration; train "
                "it with --calibration 0.1, or rank by one model with --maximize or --minimize"
            )
        if config.in_domain and model.trust.domain is None:
            raise UserError(f"--in-domain: {objective.model} knows no domain; train it again")
    if config.exclude_known and not models[0].card.keeps_structures:
        raise UserError(f"--exclude-known: {config.model} keeps no structures; train it again")
    return models
