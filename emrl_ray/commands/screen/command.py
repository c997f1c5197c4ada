"""Screen a library: predict every candidate, rank, and write a shortlist.

Partitions of the library go to one worker here, or to many on Ray, that hold the model; each partition's predictions and
rejects are committed on their own. The shortlist is drawn from the committed files, and the
manifest, written last, makes the run valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from emrl_ray.commands.engine import choose_engine, run_partitions, start
from emrl_ray.commands.screen.manifest import describe, summarize
from emrl_ray.commands.screen.plan import ScreenPlan, prepare
from emrl_ray.config import ScreenConfig
from emrl_ray.crystals.counts import RowCounts, summary_line
from emrl_ray.crystals.schema import GEOMETRY, check_crystal_schema
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.atomic import write_csv, write_json
from emrl_ray.io.console import log
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import Location, list_files, read_json, resolve
from emrl_ray.io.runtime import limited_threads
from emrl_ray.model import Model
from emrl_ray.reports.screening.page import write_report
from emrl_ray.runs.partitioned_output import COUNTS_KEY, PartitionedOutput
from emrl_ray.runs.partitions import RowPartition, read_partition, rows_in
from emrl_ray.runs.progress import Progress
from emrl_ray.runs.usage import ResourceUsage
from emrl_ray.screening.duplicates import map_tolerance
from emrl_ray.screening.filters import Filters
from emrl_ray.screening.objectives import Objective
from emrl_ray.screening.ranking import Ranking
from emrl_ray.screening.screener import Screener
from emrl_ray.screening.selection import Selector
from emrl_ray.screening.shortlist import shortlist
from emrl_ray.screening.supply_risk import with_supply_risk


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
    UserError, in one line and before any work, for options that cannot be
    met, and for a run whose arguments, model or library were others.
    """
    usage = ResourceUsage()
    with usage.timed("prepare"):
        plan = prepare(config)
    with plan.directory.locked(config.overwrite):
        plan.directory.claim(config.overwrite)
        if plan.run.manifest.exists():
            return _finished(config, plan)
        return _screen(config, plan, usage)


def _finished(config: ScreenConfig, plan: ScreenPlan) -> ScreenResult:
    """Return what an earlier call left, with its report, which a kill may have kept from it.

    A Delta table that does not have it yet gets it.
    """
    run = plan.run
    _fill_table(config, plan)
    if not resolve(run.report).is_file():
        write_report(config.out)
    log(f"screen: {config.out} is finished, nothing to do (--overwrite starts anew)")
    return ScreenResult(run.shortlist, read_json(run.manifest), run.report)


def _screen(config: ScreenConfig, plan: ScreenPlan, usage: ResourceUsage) -> ScreenResult:
    """Compute what the run's folder, which is ours, does not have yet."""
    run = plan.run
    engine = choose_engine("screen", config, rows_in(plan.partitions))
    with usage.timed("start"):
        start(engine, config.address)
    with usage.timed("predict"):
        counts = run_partitions(
            engine,
            config,
            plan.partitions,
            run.output,
            ScreenWorker,
            (config, plan.objectives, plan.filters, run.output),
            progress=Progress("screen"),
            observe=usage.observe,
        )
    _check_rows(counts, plan.partitions)
    with usage.timed("rank"):
        files = list_files(resolve(run.output.rows), ".parquet")
        ranking = ranking_of(config)
        embed = plan.first.embed if config.diverse else None
        chooser = Selector(config.per_system, embed)
        reach = map_tolerance(plan.first)
        found = shortlist(files, config.crystals, ranking, config.top, chooser, reach)
    with usage.timed("write"):
        table = with_supply_risk(found.table) if config.supply_risk else found.table
        write_shortlist(table, run.folder)
        run.output.remove_temporaries()
        _fill_table(config, plan)
    manifest = describe(config, plan, engine, usage, counts, found)
    write_json(manifest, run.manifest)
    write_report(config.out)
    summarize(manifest, counts, config.out)
    return ScreenResult(run.shortlist, manifest, run.report)


class ScreenWorker:
    """A process of the pool: it holds the model and computes one partition after another."""

    def __init__(
        self,
        config: ScreenConfig,
        objectives: Sequence[Objective],
        filters: Filters,
        output: PartitionedOutput,
    ) -> None:
        self.output = output
        self.threads = config.cpus_per_worker
        limits = ValidationLimits.of(config)
        with limited_threads(self.threads):
            models = [Model.load(objective.model, self.threads) for objective in objectives]
            self.screener = Screener(models, objectives, filters, limits, config.confidence)

    def __call__(self, partition: RowPartition) -> RowCounts:
        """Predict the crystals of a partition and commit what came of them."""
        crystals = read_partition(partition)
        check_crystal_schema(crystals.schema, partition.file)
        with limited_threads(self.threads):
            predictions, rejects = self.screener(crystals, partition.first_row, partition.file)
        return self.output.commit(partition.name, predictions, rejects, crystals.num_rows)


def _check_rows(counts: RowCounts, partitions: list[RowPartition]) -> None:
    rows = rows_in(partitions)
    if counts.rows_in != rows:
        raise RuntimeError(
            f"rows were lost: {rows} in the library, but {summary_line('screen', counts)}"
        )


def _fill_table(config: ScreenConfig, plan: ScreenPlan) -> None:
    """Add the predictions to the Delta table that was asked for, if any, unless it has them."""
    if plan.table is None:
        return
    files = list_files(resolve(plan.run.output.rows), ".parquet")
    added = plan.table.commit(files, config.overwrite)
    done = "added to" if added else "there already in"
    log(f"screen: {done} {plan.table.uri}, run_id {plan.table.run_id}")


def ranking_of(config: ScreenConfig) -> Ranking:
    """Return what makes one candidate of a screen better than another."""
    wanted = config.wanted()
    return Ranking(wanted[0].window, config.maximize, len(wanted))


def write_shortlist(table: pa.Table, folder: Location) -> None:
    """Write a shortlist: with the structures as Parquet, without them as CSV."""
    metadata = {
        key: value for key, value in (table.schema.metadata or {}).items() if key != COUNTS_KEY
    }
    table = table.replace_schema_metadata(metadata)
    write_parquet(table, folder / "shortlist.parquet")
    write_csv(table.drop_columns(list(GEOMETRY)), folder / "shortlist.csv")
