"""What a run's folder and its model's folder hold for a report, whatever version wrote them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.config import ConfigError
from emrl_ray.crystals.fingerprints import folder_fingerprint
from emrl_ray.crystals.storage import Location, absolute, list_files, locate, read_json, read_table
from emrl_ray.crystals.units import origin_of
from emrl_ray.model import HELD_OUT, REFERENCE, Card, read_card

MOST_POINTS = 3000
"""Rows of the training set on the map, and of either part on a parity plot."""


class RejectKind(NamedTuple):
    """Rejects of one reason at one stage."""

    stage: str
    reason: str


class ModelFolder(NamedTuple):
    """What is known of the model of a run."""

    card: Card | None
    problem: str
    """Why there is no card, in a sentence; empty if there is one."""
    reference: pa.Table | None
    """Some rows of the training set, with map_x and map_y; None if the model has no map."""
    held_out: pa.Table | None
    """id, part, target, prediction, lower, upper of rows that the best head was not fitted to."""


class Sought(NamedTuple):
    """A further objective of a run."""

    target: str
    """Name of its target, in words."""
    unit: str
    """Empty if unknown."""
    window: tuple[float, float]
    """What is asked of it; an open end is infinite."""


class Run(NamedTuple):
    """A finished run and its model."""

    name: str
    """Last part of its path."""
    manifest: Mapping[str, Any]
    finished: datetime | None
    predictions: list[Location]
    shortlist: pa.Table
    rejects: list[Location] | None
    """None if the run has no folder of rejects."""
    model: ModelFolder

    @property
    def config(self) -> Mapping[str, Any]:
        """The options of the run."""
        return self.manifest.get("config") or {}

    @property
    def window(self) -> tuple[float, float] | None:
        """The target window asked for; an open end is infinite."""
        given = self.config.get("target_window")
        return _bounds(given) if given else None

    @property
    def further(self) -> list[Sought]:
        """The objectives beside the first."""
        return [
            Sought(
                str(made["target"]).replace("_", " "), made["unit"] or "", _bounds(made["window"])
            )
            for made in (self.manifest.get("objectives") or [])[1:]
        ]

    @property
    def confidence(self) -> float:
        """With which the intervals hold."""
        return float(self.config.get("confidence") or 0.9)

    @property
    def unit(self) -> str:
        """Unit of the target; empty if unknown."""
        if self.model.card is not None:
            return self.model.card.unit or ""
        if "prediction" not in self.shortlist.column_names:
            return ""
        return origin_of(self.shortlist.schema.field("prediction")).unit or ""

    @property
    def target(self) -> str:
        """Name of the target, in words."""
        card = self.model.card
        return card.target.replace("_", " ") if card else "predicted property"

    @property
    def target_label(self) -> str:
        """Name and unit of the target."""
        return f"{self.target} ({self.unit})" if self.unit else self.target


def _bounds(window: object) -> tuple[float, float]:
    """Return LOW:HIGH as numbers; an open end is infinite."""
    low, _, high = str(window).partition(":")
    return float(low or -math.inf), float(high or math.inf)


def read_run(uri: str, model: str | None = None) -> Run:
    """Return the run in a folder; `model` is its model's folder if that was moved.

    Raises FileNotFoundError or ValueError, in one line, if there is no finished run, and ConfigError
    if `model` is given and is none.
    """
    folder = locate(uri)
    place = folder / "manifest.json"
    if not place.is_file():
        raise FileNotFoundError(
            f"{uri}: no finished run there (manifest.json is missing); screen writes it at its end"
        )
    manifest = _mapping(place, uri)
    rejects = folder / "rejects"
    return Run(
        folder.name,
        manifest,
        _date(manifest, place),
        list_files(folder / "predictions", ".parquet"),
        read_table(f"{absolute(uri).rstrip('/')}/shortlist.parquet"),
        list_files(rejects, ".parquet") if rejects.exists() else None,
        _read_model(model, manifest),
    )


def _mapping(place: Location, uri: str) -> Mapping[str, Any]:
    try:
        content = read_json(place)
    except (json.JSONDecodeError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{uri}: a damaged run: manifest.json is no JSON object")
    return content


def _date(manifest: Mapping[str, Any], place: Location) -> datetime | None:
    """Return when a run ended: what its manifest says, else the time of that file, if it has one."""
    try:
        return datetime.fromisoformat(str(manifest.get("date")))
    except ValueError:
        nanoseconds = place.info.mtime_ns
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if nanoseconds else None


def _read_model(uri: str | None, manifest: Mapping[str, Any]) -> ModelFolder:
    """Return what can be read of the model that a manifest names, or of that at `uri`."""
    place = uri or (manifest.get("config") or {}).get("model")
    if not place:
        return ModelFolder(None, "The run does not tell which model it used.", None, None)
    try:
        card = read_card(place)
        used = (manifest.get("fingerprints") or {}).get("model")
        if used and folder_fingerprint(place) != used:
            problem = f"The model in {place} is not, or no longer, the one that this run used."
            return ModelFolder(None, problem, None, None)
        return ModelFolder(card, "", _reference(place), _held_out(place))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if uri:
            raise ConfigError(f"--model {' '.join(str(error).split())}") from None
        return ModelFolder(None, f"The model of this run cannot be read in {place}.", None, None)


def _reference(model: str) -> pa.Table | None:
    """Return the places of at most `MOST_POINTS` rows of the training set on the map."""
    place = locate(model) / REFERENCE
    schema = pq.read_schema(place.path, filesystem=place.filesystem)
    if not {"map_x", "map_y"} <= set(schema.names):
        return None
    return sampled(
        pq.read_table(place.path, filesystem=place.filesystem, columns=["map_x", "map_y"])
    )


def _held_out(model: str) -> pa.Table | None:
    place = locate(model) / HELD_OUT
    return read_table(f"{absolute(model).rstrip('/')}/{HELD_OUT}") if place.is_file() else None


def sampled(table: pa.Table) -> pa.Table:
    """Return a table, or of a larger one `MOST_POINTS` rows at random, always the same."""
    if table.num_rows <= MOST_POINTS:
        return table
    rows = np.random.default_rng(0).choice(table.num_rows, MOST_POINTS, replace=False)
    return table.take(np.sort(rows))


def count_rejects(files: list[Location]) -> tuple[Counter[RejectKind], dict[RejectKind, str]]:
    """Return how many rejects there are of each kind, and the first of each: id and detail."""
    counts: Counter[RejectKind] = Counter()
    examples: dict[RejectKind, str] = {}
    for batch in _reject_batches(files):
        kinds = pa.table(batch).group_by(["stage", "reason"], use_threads=False)
        found = kinds.aggregate([([], "count_all"), ("id", "first"), ("detail", "first")])
        for row in found.to_pylist():
            kind = RejectKind(row["stage"] or "", row["reason"] or "unknown")
            counts[kind] += row["count_all"]
            words = " ".join(filter(None, (row["id_first"], row["detail_first"])))
            examples.setdefault(kind, words)
    return counts, examples


def _reject_batches(files: list[Location]) -> Iterator[pa.RecordBatch]:
    for file in files:
        with pq.ParquetFile(file.path, filesystem=file.filesystem) as parquet:
            yield from parquet.iter_batches(
                columns=["id", "stage", "reason", "detail"], use_threads=False
            )
