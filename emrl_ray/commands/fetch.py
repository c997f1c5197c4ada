"""Fetch: crystals and their properties from a database become a crystals table.

A partition is one answer of the server: fetched, read, validated and committed before the next one of its
thread. What was committed is not asked for again; the manifest, written last, makes the table valid.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from emrl_ray.config import FetchConfig
from emrl_ray.config.errors import ServerError
from emrl_ray.crystals.counts import RowCounts, duration, summary_line
from emrl_ray.io.atomic import write_json
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import file_fingerprint
from emrl_ray.io.paths import Location, absolute_uri, read_json, resolve
from emrl_ray.io.runtime import hardware_info, package_versions
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput
from emrl_ray.runs.progress import Progress
from emrl_ray.runs.repeated_ids import reject_duplicate_ids
from emrl_ray.runs.run_directory import MANIFEST, RunDirectory, is_finished, refuse_input_as_output
from emrl_ray.sources.databases.base import DatabaseSource, FetchPlan
from emrl_ray.sources.databases.id_files import ids_file
from emrl_ray.sources.databases.materials_project import MaterialsProject
from emrl_ray.sources.databases.optimade import Optimade
from emrl_ray.sources.databases.retry import RetryPolicy

PLAN = "_plan.json"
"""What the server said when the fetch began."""


class FetchResult(NamedTuple):
    """What fetch left."""

    crystals: str
    """Path or URI of the crystals table."""
    counts: RowCounts
    database_version: str | None
    """As the server tells it; OPTIMADE servers need not."""
    seconds: float


def fetch(config: FetchConfig) -> FetchResult:
    """Fetch crystals into a crystals table; called again it goes on where it stopped.

    Raises UserError and other errors of one line for wrong options, a missing key or package, a
    server that refuses, and one that still fails after the last try: what came until then stays.
    """
    began = time.monotonic()
    config = _in_full(config)
    folder, output = resolve(config.out), PartitionedOutput(config.out, f"{config.out}/_rejects")
    directory = _job(config, folder)
    with directory.locked(config.overwrite):
        planned = (folder / PLAN).exists()
        if planned and not config.overwrite and is_finished(folder, output):
            log(f"fetch: {config.out} is finished, nothing to do (--overwrite starts anew)")
            return _result(config, read_json(folder / PLAN), _counts(output), began)
        asker = RetryPolicy(config.attempts, config.patience)
        source = _source(config, asker)
        plan = source.plan(_earlier_plan(config, folder))
        directory.claim(config.overwrite)
        write_json(plan, folder / PLAN)
        partitions = _fetch(source, plan, output)
        reject_duplicate_ids(partitions, output, lambda *_: str(plan["origin"]["endpoint"]))
        result = _result(config, plan, _counts(output), began)
        output.remove_temporaries()
        write_json(_manifest(config, directory, plan, len(partitions), result), folder / MANIFEST)
        _summarize(result, plan, asker.repeats)
        return result


def _in_full(config: FetchConfig) -> FetchConfig:
    """Return the options in the form in which two calls of the same meaning are the same."""
    return replace(
        config,
        out=absolute_uri(config.out),
        ids=None if config.ids is None else absolute_uri(config.ids),
        endpoint=None if config.endpoint is None else config.endpoint.rstrip("/"),
        optimade=None if config.optimade is None else config.optimade.rstrip("/"),
    )


def _job(config: FetchConfig, folder: Location) -> RunDirectory:
    refuse_input_as_output(config.out, ids=config.ids)
    inputs = {} if config.ids is None else {"ids": _fingerprint(config.ids)}
    return RunDirectory("fetch", folder, asdict(config), inputs)


def _fingerprint(ids: str) -> str:
    ids_file(ids)
    return file_fingerprint(ids)


def _source(config: FetchConfig, asker: RetryPolicy) -> DatabaseSource:
    return MaterialsProject(config, asker) if config.optimade is None else Optimade(config, asker)


def _earlier_plan(config: FetchConfig, folder: Location) -> FetchPlan | None:
    """Return the plan of the call that began this fetch, if there was one."""
    location = folder / PLAN
    return read_json(location) if location.exists() and not config.overwrite else None


def _fetch(source: DatabaseSource, plan: FetchPlan, output: PartitionedOutput) -> Sequence[Named]:
    """Return all partitions, in order, once they are there; says what stays if they do not all come."""
    try:
        return source.fetch(plan, output, Progress("fetch"))
    except ConnectionError as error:
        message = str(error)
    partitions = len(output.completed())
    raise ServerError(
        f"{message}; what came until then, {partitions:,} {'partition' if partitions == 1 else 'partitions'}, is in "
        f"{output.rows}, and the same command goes on"
    )


def _counts(output: PartitionedOutput) -> RowCounts:
    """Return the counts of all partitions; raises RuntimeError if a row is not accounted for."""
    counts = RowCounts.total(output.completed().values())
    if not counts.balanced:
        raise RuntimeError(f"rows were lost: {summary_line('fetch', counts)}")
    return counts


def _result(config: FetchConfig, plan: FetchPlan, counts: RowCounts, began: float) -> FetchResult:
    version = plan["origin"]["database_version"]
    return FetchResult(config.out, counts, version, time.monotonic() - began)


def _manifest(
    config: FetchConfig,
    directory: RunDirectory,
    plan: FetchPlan,
    partitions: int,
    result: FetchResult,
) -> dict[str, Any]:
    return {
        "config": asdict(config),
        "inputs": dict(directory.inputs),
        **plan,
        "slices": partitions,
        "counts": result.counts._asdict(),
        "seconds": round(result.seconds, 3),
        "versions": package_versions(),
        "machine": hardware_info(),
    }


def _summarize(result: FetchResult, plan: FetchPlan, repeats: int) -> None:
    total = plan["total"]
    if total is not None and total != result.counts.rows_in:
        log(f"fetch: the server announced {total:,} rows and gave {result.counts.rows_in:,}")
    log(summary_line("fetch", result.counts))
    repeated = f", {repeats:,} requests repeated" if repeats else ""
    version = f", version {result.database_version}" if result.database_version else ""
    log(
        f"fetch: {result.crystals}, from {plan['origin']['source']}{version}, "
        f"{duration(result.seconds)}{repeated}",
    )
