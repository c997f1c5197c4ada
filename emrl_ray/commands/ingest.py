"""Ingest: files of crystals, parsed once, become a crystals table that every other verb reads.

The driver lists the files and cuts them into partitions; a worker reads a partition at a time, parses in
processes of its own, validates, looks up targets and commits. What no worker can see, an id that is
used twice, the driver settles at the end. The manifest, written last, makes the table valid.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emrl_ray.commands.engine import choose_engine, run_partitions
from emrl_ray.config import IngestConfig, UserError
from emrl_ray.crystals.counts import RowCounts, duration, summary_line
from emrl_ray.crystals.schema import READ_BY
from emrl_ray.crystals.units import annotated
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.atomic import write_json
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import file_fingerprint
from emrl_ray.io.paths import absolute_uri, list_files, read_json, remove, resolve
from emrl_ray.io.runtime import hardware_info, limited_threads, package_versions
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.runs.progress import Progress
from emrl_ray.runs.repeated_ids import reject_duplicate_ids
from emrl_ray.runs.run_directory import HINT, MANIFEST, RunDirectory, is_finished
from emrl_ray.sources.files.formats.registry import Format
from emrl_ray.sources.files.listing import Listing, SkippedFiles, list_sources
from emrl_ray.sources.files.loading import Loader
from emrl_ray.sources.files.parser_pool import ParserPool, main_hidden
from emrl_ray.sources.files.partitions import CsvColumns, Partition, source_of
from emrl_ray.sources.files.planning import IngestPlan, plan_partitions
from emrl_ray.sources.files.targets import Targets, join, read_targets

STAGING = "_staged"
"""Folder of the output for compressed tars, unpacked while the job needs them."""
NAMES_SHOWN = 5


class IngestResult(NamedTuple):
    """What ingest left."""

    crystals: str
    """Path or URI of the crystals table."""
    counts: RowCounts
    seconds: float


class IngestTask(NamedTuple):
    """What a worker needs to know beside its partition."""

    columns: pa.Schema
    """Further columns of the table, without those of the targets."""
    targets: Targets | None
    limits: ValidationLimits
    csv_columns: CsvColumns
    kinds: set[Format]
    timeout: float
    cpus: int


def ingest(config: IngestConfig) -> IngestResult:
    """Read files into a crystals table; called again it goes on where it stopped.

    Raises UserError, or FileNotFoundError, in one line and before any work,
    for sources and targets that are not there or not what they should be.
    """
    out = absolute_uri(config.out)
    listing = list_sources(config.sources, [out, *filter(None, [config.targets])])
    return ingest_files(config, listing)


def ingest_files(config: IngestConfig, listing: Listing, hint: str = HINT) -> IngestResult:
    """Read the files of a listing, whatever the sources hold besides, as `ingest` does.

    `hint` is what to do about a folder that holds what other options made.
    """
    began = time.monotonic()
    config = replace(config, out=absolute_uri(config.out))
    output = PartitionedOutput(config.out, f"{config.out}/_rejects")
    targets, inputs = _read_targets(config), _inputs(config, listing)
    directory = RunDirectory("ingest", resolve(config.out), asdict(config), inputs, hint=hint)
    with directory.locked(config.overwrite, {STAGING}):
        if not config.overwrite and is_finished(directory.folder, output):
            log(f"ingest: {config.out} is finished, nothing to do (--overwrite starts anew)")
            remove(directory.folder / STAGING)
            counts = RowCounts.of(read_json(directory.folder / MANIFEST)["counts"])
            return IngestResult(config.out, counts, time.monotonic() - began)
        plan = _plan(config, listing)
        task = _task(config, plan, targets)
        directory.claim(config.overwrite, {STAGING})
        size = plan.max_crystals(config.files_per_partition)
        engine = choose_engine("ingest", config, size, "files or rows")
        run_partitions(
            *(engine, config, plan.partitions, output, IngestWorker, (task, output)),
            progress=Progress("ingest"),
        )
        ids = reject_duplicate_ids(plan.partitions, output, source_of)
        counts = _counts(plan.partitions, output)
        passed_over = listing.passed_over + plan.passed_over
        result = IngestResult(config.out, counts, time.monotonic() - began)
        _finish(directory, output, result, len(plan.partitions), passed_over.count)
        _summarize(result, passed_over, _without_crystal(targets, ids, output))
    return result


class IngestWorker:
    """A process of the pool: it reads and commits one partition after another."""

    def __init__(self, task: IngestTask, output: PartitionedOutput) -> None:
        self.task, self.output = task, output
        self.pool = ParserPool(task.cpus, task.timeout, task.kinds)
        self.load = Loader(task.columns, task.limits, self.pool, task.csv_columns)

    def __enter__(self) -> Self:
        """Return the worker."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes that parse."""
        self.pool.close()

    def __call__(self, partition: Partition) -> RowCounts:
        """Write the partition's crystals, with their targets, and its rejects."""
        with main_hidden(), limited_threads(self.task.cpus):
            crystals, read_by, sources, rejects, rows_in = self.load(partition)
            crystals = crystals.append_column(READ_BY, read_by)
            if self.task.targets is not None:
                crystals, missing = join(crystals, self.task.targets, sources.__getitem__)
                rejects += missing
            return self.output.commit(partition.name, crystals, rejects, rows_in)


def _read_targets(config: IngestConfig) -> Targets | None:
    if config.targets is None:
        return None
    return read_targets(
        config.targets, config.target_names, config.unit, config.theory, config.id_column
    )


def _plan(config: IngestConfig, listing: Listing) -> IngestPlan:
    """Return the partitions; what sources hold that must be unpacked first goes to a folder of its own."""
    staging = f"{config.out}/{STAGING}"
    columns = CsvColumns(config.cif_column, config.id_column)
    try:
        plan = plan_partitions(listing, staging, config.files_per_partition, columns)
        if not plan.partitions:
            raise UserError(f"{' '.join(config.sources)}: no crystals there")
    except (ValueError, ImportError):
        remove(resolve(staging))
        raise
    return plan


def _task(config: IngestConfig, plan: IngestPlan, targets: Targets | None) -> IngestTask:
    columns = plan.columns
    if targets is not None:
        clash = sorted({*columns.names, READ_BY} & {*targets.values.column_names})
        if clash:
            raise UserError(
                f"--targets {config.targets}: the sources have a column {clash[0]!r} too"
            )
    elif config.unit or config.theory:
        numbers = [field.name for field in columns if pa.types.is_floating(field.type)]
        if len(numbers) != 1:
            raise UserError(
                f"--unit, --theory: need --targets, or sources with one column of numbers "
                f"(they have {', '.join(numbers) or 'none'})"
            )
        columns = annotated(columns, config.unit, config.theory)
    return IngestTask(
        columns,
        targets,
        ValidationLimits.of(config, config.cutoff),
        CsvColumns(config.cif_column, config.id_column),
        plan.kinds,
        config.timeout,
        config.cpus_per_worker,
    )


def _inputs(config: IngestConfig, listing: Listing) -> dict[str, str]:
    """Return fingerprints of what is read."""
    inputs = {"sources": listing.fingerprint}
    if config.targets is not None:
        inputs["targets"] = file_fingerprint(config.targets)
    return inputs


def _counts(partitions: Sequence[Partition], output: PartitionedOutput) -> RowCounts:
    """Return the counts of all partitions; raises RuntimeError if a row is not accounted for."""
    done = output.completed()
    counts = RowCounts.total(done.values())
    if done.keys() != {partition.name for partition in partitions} or not counts.balanced:
        raise RuntimeError(f"rows were lost: {summary_line('ingest', counts)}")
    return counts


def _finish(
    directory: RunDirectory,
    output: PartitionedOutput,
    result: IngestResult,
    partitions: int,
    passed_over: int,
) -> None:
    """Write the manifest, which makes the table valid, and tidy up."""
    manifest = {
        "config": dict(directory.arguments),
        "inputs": dict(directory.inputs),
        "slices": partitions,
        "counts": result.counts._asdict(),
        "passed_over": passed_over,
        "seconds": round(result.seconds, 3),
        "versions": package_versions(),
        "machine": hardware_info(),
    }
    write_json(manifest, directory.folder / MANIFEST)
    output.remove_temporaries()
    remove(directory.folder / STAGING)


def _without_crystal(
    targets: Targets | None, ids: pa.ChunkedArray, output: PartitionedOutput
) -> list[str]:
    """Return the ids of targets that no crystal has, whether it was rejected or not."""
    if targets is None:
        return []
    rejected = [
        pq.read_table(file.path, filesystem=file.filesystem, columns=["id"]).column("id")
        for file in list_files(resolve(output.rejects), ".parquet")
    ]
    seen = pa.chunked_array(
        [chunk for column in [ids, *rejected] for chunk in column.chunks], pa.string()
    )
    return targets.ids.filter(pc.invert(pc.is_in(targets.ids, value_set=seen))).to_pylist()


def _summarize(result: IngestResult, passed_over: SkippedFiles, without_crystal: list[str]) -> None:
    if passed_over.count:
        names = [path.rsplit("/", 1)[-1] for path in passed_over.paths]
        some = _some(names, passed_over.count)
        log(f"ingest: {passed_over.count:,} other files were skipped ({some})")
    if without_crystal:
        some = _some(without_crystal, len(without_crystal))
        log(f"ingest: {len(without_crystal):,} targets have no crystal ({some})")
    log(summary_line("ingest", result.counts))
    log(f"ingest: {result.crystals}, {duration(result.seconds)}")


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if count > NAMES_SHOWN else "")
