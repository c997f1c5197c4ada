"""Rows of predictions: the columns that a model finds, among those that came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, GEOMETRY, KNOWN_ID
from emrl_ray.crystals.units import number_field

INTERVAL = ("lower", "upper")
"""Ends of the interval that holds the target with the confidence asked for; null without calibration."""
VERDICT = ("in_domain", "domain_reason")
"""Whether a crystal is like the training crystals, and the first reason why not (`model.uncertainty.applicability_domain`)."""
NEAREST = ("nearest_id", "nearest_formula", "nearest_target", "nearest_distance")
"""The nearest reference row, its true target, and its distance in embedding space."""
COORDINATES = ("map_x", "map_y")
"""Place on the map of the embedding space (`model.uncertainty.pca_map`)."""
PREDICTION_COLUMNS = ("prediction", *INTERVAL, *VERDICT, *NEAREST, KNOWN_ID, *COORDINATES)
"""What is found of a crystal; the known crystal that it is, null where it is none, is a labelled row, of
training or held out."""
IN_UNIT_OF_TARGET = ("prediction", *INTERVAL, "nearest_target")


def bounds(
    interval: tuple[NDArray[np.float64], NDArray[np.float64]] | None, rows: int
) -> dict[str, pa.Array]:
    """Return the columns of intervals, null if there are none."""
    ends = interval or (None, None)
    return {
        name: pa.nulls(rows, pa.float64()) if end is None else pa.array(end)
        for name, end in zip(INTERVAL, ends, strict=True)
    }


def verdicts(reasons: Sequence[str | None] | None, rows: int) -> dict[str, pa.Array]:
    """Return the columns of the domain from the reason of each row that is outside; null without any."""
    if reasons is None:
        return dict(
            zip(VERDICT, (pa.nulls(rows, pa.bool_()), pa.nulls(rows, pa.string())), strict=True)
        )
    texts = pa.array(reasons, pa.string())
    return dict(zip(VERDICT, (texts.is_null(), texts), strict=True))


def nearest(
    reference: pa.Table, index: NDArray[np.int64], distance: NDArray[np.float64], target: str
) -> dict[str, pa.Array]:
    """Return the columns of the nearest reference rows; null at index -1."""
    rows = reference.select(["id", "formula", target]).take(pa.array(index, mask=index < 0))
    columns = [column.combine_chunks() for column in rows.columns]
    return dict(zip(NEAREST, [*columns, pa.array(distance, mask=index < 0)], strict=True))


def matched_ids(labelled: pa.Table, index: NDArray[np.int64]) -> pa.Array:
    """Return the ids of the labelled rows at `index`, null at -1."""
    return labelled.column("id").take(pa.array(index, mask=index < 0)).combine_chunks()


def coordinates(points: NDArray[np.float32]) -> dict[str, pa.Array]:
    """Return the columns of places (B, 2) on the map."""
    return {name: pa.array(points[:, axis]) for axis, name in enumerate(COORDINATES)}


def prediction_table(
    crystals: pa.Table, found: Mapping[str, pa.Array], unit: str | None
) -> pa.Table:
    """Return id and formula, the columns that were found, and what else came in but the geometry."""
    given = crystals.column_names
    formula = crystals.column("formula") if "formula" in given else None
    columns = {
        "id": crystals.column("id"),
        "formula": pa.nulls(crystals.num_rows, pa.string()) if formula is None else formula,
        **found,
    }
    extra = [name for name in given if name not in (*columns, *GEOMETRY)]
    fields = [
        number_field(name, unit) if name in IN_UNIT_OF_TARGET else pa.field(name, column.type)
        for name, column in found.items()
    ]
    schema = pa.schema(
        [
            CRYSTAL_SCHEMA.field("id"),
            CRYSTAL_SCHEMA.field("formula"),
            *fields,
            *(crystals.schema.field(name) for name in extra),
        ]
    )
    return pa.Table.from_arrays(
        [*columns.values(), *(crystals.column(name) for name in extra)], schema=schema
    )


def check_free_columns(schema: pa.Schema, source: str) -> None:
    """Raise UserError, in one line, if a table has columns with the names of predictions."""
    for name in PREDICTION_COLUMNS:
        if name in schema.names:
            raise UserError(f"{source}: has a column {name!r}, as predictions have; rename it")
