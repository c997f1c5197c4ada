"""What the folder of a run's model holds for a report, whatever version wrote it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.config import UserError
from emrl_ray.config.errors import one_line
from emrl_ray.io.fingerprints import folder_fingerprint
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import absolute_uri, resolve
from emrl_ray.model import HELD_OUT, REFERENCE, Card, read_card
from emrl_ray.model.errors import corruption_reported
from emrl_ray.model.files import read_calibrations
from emrl_ray.model.uncertainty import ConformalCalibration

MAX_POINTS = 3000
"""Rows of the training set on the map, and of either part on a parity plot."""
COORDINATES = ["map_x", "map_y"]
HELD_OUT_COLUMNS = ["part", "target", "prediction", "lower", "upper"]


class ModelFolder(NamedTuple):
    """What is known of a model of a run."""

    location: str
    """Its folder; empty if the run does not tell."""
    card: Card | None
    problem: str
    """Why there is no card, in a sentence; empty if there is one."""
    reference: pa.Table | None = None
    """Some rows of the training set, with map_x and map_y; None if the model has no map."""
    held_out: pa.Table | None = None
    """`HELD_OUT_COLUMNS` of rows that the best head was not fitted to."""
    calibration: ConformalCalibration | None = None
    """Of the best head; None if the model has none that can be read."""


def find_model(location: str, used: str | None) -> ModelFolder:
    """Return what can be read of a model whose fingerprint was `used`, None if that is not told."""
    if not location:
        return ModelFolder("", None, "The run does not tell which model it used.")
    try:
        found = _read(location, used)
    except (OSError, ValueError, KeyError, TypeError):
        return ModelFolder(location, None, f"The model of this run cannot be read in {location}.")
    words = f"The model in {location} is not, or no longer, the one that this run used."
    return found or ModelFolder(location, None, words)


def named_model(location: str, used: str | None) -> ModelFolder:
    """Return the model that a user names; raises UserError, in one line, if it is none or another."""
    try:
        found = _read(location, used)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--model {one_line(error)}") from None
    if found is None:
        raise UserError(f"--model {location}: not, or no longer, the model that this run used")
    return found


def _read(location: str, used: str | None) -> ModelFolder | None:
    """Return what a model's folder holds; None if its fingerprint is told and another.

    Raises MissingFileError or UserError, in one line, if there is no model.
    """
    card = read_card(location)
    if used and folder_fingerprint(location) != used:
        return None
    return ModelFolder(
        location,
        card,
        "",
        _reference(location),
        _held_out(location),
        _calibration(location, card.best_head),
    )


def _reference(model: str) -> pa.Table | None:
    """Return the places of at most `MAX_POINTS` rows of the training set on the map."""
    location = resolve(model) / REFERENCE
    with pq.ParquetFile(location.path, filesystem=location.filesystem) as parquet:
        there = set(COORDINATES) <= set(parquet.schema_arrow.names)
        return sampled(parquet.read(COORDINATES)) if there else None


def _held_out(model: str) -> pa.Table | None:
    location = resolve(model) / HELD_OUT
    if not location.is_file():
        return None
    return read_table(f"{absolute_uri(model).rstrip('/')}/{HELD_OUT}", HELD_OUT_COLUMNS)


def _calibration(model: str, head: str) -> ConformalCalibration | None:
    try:
        with corruption_reported(model):
            return read_calibrations(resolve(model)).get(head)
    except ValueError:
        return None


def sampled(table: pa.Table) -> pa.Table:
    """Return a table, or of a larger one `MAX_POINTS` rows at random, always the same."""
    if table.num_rows <= MAX_POINTS:
        return table
    rows = np.random.default_rng(0).choice(table.num_rows, MAX_POINTS, replace=False)
    return table.take(np.sort(rows))
