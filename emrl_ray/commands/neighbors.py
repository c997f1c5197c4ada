"""The nearest known crystals of others, on this machine: what a model sees as most alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.commands.predict import close, print_rows
from emrl_ray.config import NeighborsConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA, KNOWN_ID, Reject, rejects_table
from emrl_ray.crystals.units import number_field
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import available_cpus, limited_threads
from emrl_ray.model import Model
from emrl_ray.model.prediction_table import matched_ids
from emrl_ray.model.uncertainty import several_nearest
from emrl_ray.runs.output_files import (
    check_output_file_name,
    rejects_beside,
    write_rejects,
    write_table,
)
from emrl_ray.sources.files.listing import is_glob
from emrl_ray.sources.files.local import open_source

HEADINGS = {
    **{name: name for name in ("id", "formula")},
    KNOWN_ID: "known",
    "rank": "rank",
    "nearest_id": "nearest",
    "nearest_formula": "its formula",
    "nearest_target": "its value",
    "nearest_distance": "distance",
}
"""Columns that are printed where no file is asked for, and how they are called there."""


class NeighborsResult(NamedTuple):
    """What neighbors found."""

    neighbors: pa.Table
    """`count` rows a crystal, nearest first: id, formula, the id of the known crystal that it is, rank
    (from 1) and the nearest crystal's id, formula, true value and distance in embedding space."""
    rejects: pa.Table
    """A row for each file or crystal that has no embedding."""

    @property
    def passed(self) -> bool:
        """Whether any crystal has neighbours."""
        return self.neighbors.num_rows > 0


class _Found(NamedTuple):
    """Neighbours of all crystals of the source."""

    table: pa.Table
    crystals: int
    rejects: list[Reject]
    passed_over: int = 0


def neighbors(config: NeighborsConfig) -> NeighborsResult:
    """Find the reference crystals nearest to the crystals of a source, or to one of themselves.

    What is a path is read; anything else is the id of a reference crystal, which is left out of
    its own neighbours. Raises UserError, or FileNotFoundError, in one
    line and before any work, for options that cannot be met.
    """
    if config.out is not None:
        check_output_file_name(config.out)
    threads = config.threads or available_cpus()
    with limited_threads(threads):
        model = Model.load(config.model, threads)
        if model.reference.num_rows == 0:
            raise UserError(f"{config.model}: the model holds no reference crystals")
        known = pc.index(model.reference.column("id"), config.source).as_py()
        if known >= 0 and not resolve(config.source).exists():
            found = _of_reference(model, known, config.count)
        else:
            _check_source(config, model)
            found = _of_source(model, config, threads)
    result = NeighborsResult(found.table, rejects_table(found.rejects))
    if config.out is not None:
        write_table(result.neighbors, config.out)
        write_rejects(result.rejects, resolve(rejects_beside(config.out)))
    else:
        unit = f" in {model.card.unit}" if model.card.unit else ""
        print_rows(f"values: {model.card.target}{unit}", result.neighbors, HEADINGS)
    close("neighbors", found.crystals, result.rejects, found.passed_over, config.out)
    return result


def _check_source(config: NeighborsConfig, model: Model) -> None:
    """Raise UserError, in one line, unless the source can be a file, a folder or a pattern."""
    source = config.source
    if not ("://" in source or is_glob(source) or resolve(source).exists()):
        raise UserError(
            f"{source}: no such file or folder, nor the id of one of the "
            f"{model.reference.num_rows:,} reference crystals of {config.model}"
        )


def _of_reference(model: Model, row: int, count: int) -> _Found:
    """Return the neighbours of a reference crystal among the others."""
    others = np.delete(np.arange(model.reference.num_rows), row)
    embeddings = model.reference_embeddings
    index, distance = several_nearest(embeddings[others], embeddings[[row]], count)
    crystal = model.reference.slice(row, 1)
    known = crystal.column("id").combine_chunks()
    return _Found(_rows(model, crystal, known, others[index], distance), 1, [])


def _of_source(model: Model, config: NeighborsConfig, threads: int) -> _Found:
    """Return the neighbours of all crystals of a source."""
    with open_source(config.source, config.cif_column, config.out) as opened:
        tables, crystals, rejects = [], 0, []
        limits = ValidationLimits.of(config, model.cutoff)
        for loaded in opened.load(limits, threads):
            found = model.embed_crystals(loaded.crystals, limits.after_reading)
            near = several_nearest(model.reference_embeddings, found.embeddings, config.count)
            tables.append(_rows(model, found.crystals, _known_ids(model, found.batch), *near))
            crystals += found.crystals.num_rows
            rejects += loaded.rejects + loaded.located(found.rejects)
    return _Found(pa.concat_tables(tables), crystals, rejects, opened.passed_over)


def _known_ids(model: Model, batch: CrystalBatch) -> pa.Array:
    """Return the ids of the labelled crystals that those of a batch are, null where there is none."""
    if model.known is None or model.labelled is None:
        return pa.nulls(batch.n_crystals, pa.string())
    return matched_ids(model.labelled, model.known.find(batch, find_contacts(batch)))


def _rows(
    model: Model,
    crystals: pa.Table,
    known: pa.Array,
    index: NDArray[np.int64],
    distance: NDArray[np.float64],
) -> pa.Table:
    """Return the rows of B crystals, which are the known ones with the ids `known` (B,).

    `index` and `distance` (B, k) are the reference rows found and how far they are.
    """
    count = index.shape[1]
    repeated = np.repeat(np.arange(len(index)), count)
    own = crystals.select(["id", "formula"]).take(repeated)
    near = model.reference.select(["id", "formula", model.card.target]).take(index.reshape(-1))
    return pa.Table.from_arrays(
        [
            *own.columns,
            known.take(pa.array(repeated)),
            pa.array(np.tile(np.arange(1, count + 1), len(index))),
            *near.columns,
            pa.array(distance.reshape(-1)),
        ],
        schema=pa.schema(
            [
                CRYSTAL_SCHEMA.field("id"),
                CRYSTAL_SCHEMA.field("formula"),
                pa.field(KNOWN_ID, pa.string()),
                pa.field("rank", pa.int64()),
                pa.field("nearest_id", pa.string()),
                pa.field("nearest_formula", pa.string()),
                number_field("nearest_target", model.card.unit),
                pa.field("nearest_distance", pa.float64()),
            ]
        ),
    )
