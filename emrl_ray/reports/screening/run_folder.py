"""What a run's folder holds for a report, whatever version wrote it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from emrl_ray.config.errors import UserError
from emrl_ray.config.renamed import current_names
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import Location, absolute_uri, list_files, read_json, resolve
from emrl_ray.reports.screening.reported_objectives import (
    ReportedObjective,
    judges,
    read_objectives,
)
from emrl_ray.runs.result_folder import finished_manifest
from emrl_ray.screening.prediction_files import batches, damage_named

REJECT_COLUMNS = ("id", "stage", "reason", "detail")


class RejectKind(NamedTuple):
    """Rejects of one reason at one stage."""

    stage: str
    reason: str


class ScreeningRun(NamedTuple):
    """A finished run and its models."""

    name: str
    """Last part of its path."""
    manifest: Mapping[str, Any]
    finished: datetime | None
    predictions: list[Location]
    shortlist: pa.Table
    rejects: list[Location] | None
    """None if the run has no folder of rejects."""
    objectives: list[ReportedObjective]
    """The objectives, one or more."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The options of the run."""
        return current_names(self.manifest.get("config") or {})

    @property
    def counts(self) -> Mapping[str, Any]:
        """How many candidates went which way."""
        return self.manifest.get("counts") or {}

    @property
    def first(self) -> ReportedObjective:
        """The first objective."""
        return self.objectives[0]

    @property
    def several(self) -> bool:
        """Whether there are several objectives."""
        return len(self.objectives) > 1

    @property
    def models(self) -> dict[str, ReportedObjective]:
        """Each model's first objective, by a short name of the model."""
        return judges(self.objectives)

    @property
    def endings(self) -> list[str]:
        """What the names of the columns of each model's first objective end in."""
        return [made.ending for made in self.models.values()]

    @property
    def confidence(self) -> float:
        """With which the intervals hold."""
        return float(self.config.get("confidence") or 0.9)


def read_run(uri: str, model: str | None = None) -> ScreeningRun:
    """Return the run in a folder; `model` is its first model's folder if that was moved.

    Raises MissingFileError or UserError, in one line, if there is no finished run or a file of it
    is damaged, and UserError if `model` is given and is none or another.
    """
    folder, location = resolve(uri), finished_manifest(uri)
    manifest = _mapping(location, uri)
    predictions = list_files(folder / "predictions", ".parquet")
    predicted = (manifest.get("counts") or {}).get("predicted") or 0
    if predicted and not predictions:
        raise UserError(
            f"{uri}: a damaged run: predictions/ has no files, but {predicted:,} rows were predicted"
        )
    shortlist = _shortlist(uri)
    rejects = folder / "rejects"
    return ScreeningRun(
        folder.name,
        manifest,
        _date(manifest, location),
        predictions,
        shortlist,
        list_files(rejects, ".parquet") if rejects.exists() else None,
        read_objectives(manifest, shortlist.schema, model),
    )


def _shortlist(uri: str) -> pa.Table:
    location = f"{absolute_uri(uri).rstrip('/')}/shortlist.parquet"
    with damage_named(location):
        rows = read_table(location)
    if "id" not in rows.column_names:
        raise UserError(f"{location}: a damaged file of the run: it has no column id")
    return rows


def _mapping(location: Location, uri: str) -> Mapping[str, Any]:
    try:
        content = read_json(location)
    except (json.JSONDecodeError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{uri}: a damaged run: manifest.json is no JSON object")
    if "format" not in content:
        raise UserError(f"{uri}: a damaged run: manifest.json has no format, as a screen gives it")
    return content


def _date(manifest: Mapping[str, Any], location: Location) -> datetime | None:
    """Return when a run ended: what its manifest says, else the time of that file, if it has one."""
    try:
        return datetime.fromisoformat(str(manifest.get("date")))
    except ValueError:
        nanoseconds = location.info.mtime_ns
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if nanoseconds else None


def count_rejects(files: list[Location]) -> tuple[Counter[RejectKind], dict[RejectKind, str]]:
    """Return how many rejects there are of each kind, and the first of each: id and detail."""
    counts: Counter[RejectKind] = Counter()
    examples: dict[RejectKind, str] = {}
    for batch in (batch for file in files for batch in batches(file, REJECT_COLUMNS)):
        kinds = pa.table(batch).group_by(["stage", "reason"], use_threads=False)
        found = kinds.aggregate([([], "count_all"), ("id", "first"), ("detail", "first")])
        for row in found.to_pylist():
            kind = RejectKind(row["stage"] or "", row["reason"] or "unknown")
            counts[kind] += row["count_all"]
            words = " ".join(filter(None, (row["id_first"], row["detail_first"])))
            examples.setdefault(kind, words)
    return counts, examples
