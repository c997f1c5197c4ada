"""Screen a library: predict every candidate on Ray, rank, and write a shortlist.

Slices of the library go to a pool of processes that hold the model; each slice's predictions and
rejects are committed on their own. The shortlist is drawn from the committed files, and the
manifest, written last, makes the run valid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import pyarrow as pa

from emrl_ray.config import ConfigError, ScreenConfig
from emrl_ray.crystals.accounting import Counts, account
from emrl_ray.crystals.fingerprints import folder_fingerprint, table_fingerprint
from emrl_ray.crystals.places import check_folder_place
from emrl_ray.crystals.storage import (
    Location,
    absolute,
    list_files,
    locate,
    read_json,
    table_schema,
    write_csv,
    write_json,
    write_parquet,
)
from emrl_ray.crystals.tables import GEOMETRY, check_crystal_schema
from emrl_ray.crystals.validation import Limits
from emrl_ray.machine import limited_threads
from emrl_ray.model import REFERENCE, Model
from emrl_ray.pipelines.cluster import connect
from emrl_ray.pipelines.screen_manifest import describe, summarize
from emrl_ray.pipelines.slices import (
    RowSlice,
    plan_rows,
    read_slice,
    run_slices,
)
from emrl_ray.pipelines.usage import Usage
from emrl_ray.reporting.run_page.page import PAGE, write_report
from emrl_ray.resuming.output import COUNTS_KEY, Output
from emrl_ray.resuming.progress import Progress
from emrl_ray.resuming.runs import Job, refuse_input_as_output
from emrl_ray.screening.candidates import Screener, own_columns
from emrl_ray.screening.choice import Chooser
from emrl_ray.screening.filters import Filters
from emrl_ray.screening.objectives import Objective, refuse_the_same
from emrl_ray.screening.ranking import Ranking
from emrl_ray.screening.shortlist import shortlist
from emrl_ray.screening.supply_risk import with_supply_risk
from emrl_ray.screening.twins import reach_on

MANY_READINGS = 16
"""Slices of one row group, each of which reads it whole, beyond which this is worth a word."""


class ScreenResult(NamedTuple):
    """What a screen left."""

    shortlist: str
    """Path or URI of shortlist.parquet."""
    manifest: dict[str, Any]
    """Content of manifest.json."""
    report: str
    """Path or URI of report.html."""

    @property
    def passed(self) -> bool:
        """Whether any candidate could be predicted."""
        return self.manifest["counts"]["predicted"] > 0


def screen(config: ScreenConfig) -> ScreenResult:
    """Predict all crystals of a library, rank them, and write the run's folder.

    The unit is the row: rows with one id are predicted and ranked each on its own. The same call
    again goes on where a killed one stopped, and returns at once if the run is finished. Raises
    ConfigError or another ValueError, in one line and before any work, for options that cannot be
    met, and for a run whose arguments, model or library were others.
    """
    usage = Usage()
    objectives = [
        Objective(absolute(model), head, window, config.maximize)
        for model, head, window in config.wanted()
    ]
    filters = Filters.of(config)
    run = _Run.at(config.out)
    models = {option_of(number): made.model for number, made in enumerate(objectives)}
    check_folder_place(run.folder, config.out)
    refuse_input_as_output(config.out, crystals=config.crystals, model=config.model)
    for option, made in zip(_further(config), objectives[1:], strict=True):
        refuse_input_as_output(config.out, **{option: made.model})
    with usage.timed("prepare"):
        pieces = _plan(config)
        first = _check_models(config, objectives)
        inputs = {name: folder_fingerprint(model) for name, model in models.items()}
        refuse_the_same(objectives, list(inputs.values()))
        inputs["crystals"] = table_fingerprint(config.crystals)
        called = {
            option_of(number): f"--{option} {made.model}"
            for number, (option, made) in enumerate(
                zip(_further(config), objectives[1:], strict=True), start=1
            )
        }
        job = Job("screen", run.folder, asdict(config), inputs, "run.json", called)
        job.open(config.overwrite)
    if run.manifest.exists():
        if not locate(run.report).is_file():  # killed just before it
            write_report(config.out)
        print(f"screen: {config.out} is finished, nothing to do (--overwrite starts anew)")
        return ScreenResult(run.shortlist, read_json(run.manifest), run.report)
    with usage.timed("start"):
        connect(config.address)
    with usage.timed("predict"):
        counts = run_slices(
            pieces,
            run.output,
            ScreenWorker,
            (config, objectives, filters, run.output),
            workers=config.workers,
            cpus_per_worker=config.cpus_per_worker,
            progress=Progress("screen"),
            observe=usage.observe,
        )
    _check_balance(counts, pieces)
    with usage.timed("rank"):
        files = list_files(locate(run.output.rows), ".parquet")
        ranking = Ranking(objectives[0].window, config.maximize, len(objectives))
        embed = first.embed if config.diverse else None
        chooser = Chooser(config.crystals, config.per_system, embed)
        found = shortlist(files, ranking, config.top, chooser, reach_on(first))
    with usage.timed("write"):
        table = with_supply_risk(found.table) if config.supply else found.table
        _write_shortlist(table, run.folder)
        run.output.sweep()
    manifest = describe(config, objectives, inputs, usage, len(pieces), counts, found)
    write_json(manifest, run.manifest)
    write_report(config.out)
    summarize(manifest, counts, config.out)
    return ScreenResult(run.shortlist, manifest, run.report)


class ScreenWorker:
    """A process of the pool: it holds the model and computes one slice after another."""

    def __init__(
        self,
        config: ScreenConfig,
        objectives: Sequence[Objective],
        filters: Filters,
        output: Output,
    ) -> None:
        self.output = output
        self.threads = config.cpus_per_worker
        limits = Limits.of(config)
        with limited_threads(self.threads):
            self.screener = Screener(objectives, filters, limits, config.confidence, self.threads)

    def __call__(self, piece: RowSlice) -> Counts:
        """Predict the crystals of a slice and commit what came of them."""
        crystals = read_slice(piece)
        check_crystal_schema(crystals.schema, piece.file)
        with limited_threads(self.threads):
            predictions, rejects = self.screener(crystals, piece.first_row, piece.file)
        return self.output.commit(piece.name, predictions, rejects, crystals.num_rows)


class _Run(NamedTuple):
    """The parts of a run's folder."""

    folder: Location
    output: Output
    manifest: Location
    shortlist: str
    report: str

    @classmethod
    def at(cls, out: str) -> _Run:
        root, folder = absolute(out).rstrip("/"), locate(out)
        return cls(
            folder,
            Output(f"{root}/predictions", f"{root}/rejects"),
            folder / "manifest.json",
            f"{root}/shortlist.parquet",
            f"{root}/{PAGE}",
        )


def _plan(config: ScreenConfig) -> list[RowSlice]:
    schema = table_schema(config.crystals)
    check_crystal_schema(schema, config.crystals)
    pieces = plan_rows(config.crystals, config.block_rows)
    if not pieces:
        raise ConfigError(f"{config.crystals}: the table has no rows")
    if own := own_columns(schema):
        print(
            f"screen: {config.crystals}: columns with names of those that a screen writes are left "
            f"out, rename them to keep them: {', '.join(own)}",
            flush=True,
        )
    readings = max(Counter((piece.file, piece.row_group) for piece in pieces).values())
    if readings > MANY_READINGS:
        print(
            f"screen: {config.crystals} has large row groups, each of which is read up to "
            f"{readings} times; a table that `ingest` wrote has small ones and is faster",
            flush=True,
        )
    return pieces


def option_of(number: int) -> str:
    """Return what the model of an objective is called in the run's record."""
    return "model" if number == 0 else f"model{number + 1}"


def _further(config: ScreenConfig) -> list[str]:
    """Return the options that name the models of further objectives."""
    return ["and"] * (config.and_model is not None) + ["objectives"] * len(config.objectives)


def _check_models(config: ScreenConfig, objectives: Sequence[Objective]) -> Model:
    """Return the first model; raises ConfigError, in one line, if one cannot do what is asked."""
    models = [Model.load(objective.model) for objective in objectives]
    for model, objective in zip(models, objectives, strict=True):
        head = model.head_name(objective.head)
        _ = model.heads[head]  # read now: a damaged one is told before any work
        if objective.window is not None and head not in model.calibrations:
            raise ConfigError(
                f"target window {objective.window_text}: {objective.model} has no calibration; train "
                "it with --calibration 0.1, or rank by one model with --maximize or --minimize"
            )
        if config.in_domain and model.trust.domain is None:
            raise ConfigError(f"--in-domain: {objective.model} knows no domain; train it again")
    if config.not_known and not _keeps_structures(config.model):
        raise ConfigError(f"--not-known: {config.model} keeps no structures; train it again")
    return models[0]


def _keeps_structures(model: str) -> bool:
    """Return whether a model's folder has the geometry of its training crystals."""
    return GEOMETRY[0] in table_schema(f"{absolute(model)}/{REFERENCE}").names


def _check_balance(counts: Counts, pieces: list[RowSlice]) -> None:
    rows = sum(piece.stop - piece.start for piece in pieces)
    if not counts.balanced or counts.rows_in != rows:
        raise RuntimeError(
            f"rows were lost: {rows} in the library, but {account('screen', counts)}"
        )


def _write_shortlist(table: pa.Table, folder: Location) -> None:
    metadata = {
        key: value for key, value in (table.schema.metadata or {}).items() if key != COUNTS_KEY
    }
    table = table.replace_schema_metadata(metadata)
    write_parquet(table, folder / "shortlist.parquet")
    write_csv(table.drop_columns(list(GEOMETRY)), folder / "shortlist.csv")
