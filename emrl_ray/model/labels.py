"""The labeled rows of a table: which there are, their targets, and how they are split."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config import TrainConfig, UserError
from emrl_ray.crystals.matching.duplicate_ids import duplicated
from emrl_ray.crystals.schema import Reject, Stage, check_target
from emrl_ray.crystals.units import column_metadata
from emrl_ray.features.graphs import rows_without_pairs, table_cutoff
from emrl_ray.features.pairs import reject_without_pairs
from emrl_ray.io.parquet import iter_tables, read_table, table_schema
from emrl_ray.sources.files.targets import reject_unlabelled
from emrl_ray.training.evaluation import Split, split_rows


class Labels(NamedTuple):
    """The rows of a graphs table that have a target."""

    rows: NDArray[np.int64]
    """(n,) their positions in the table, ascending."""
    ids: pa.Array
    """(n,) ids."""
    formulas: pa.Array
    """(n,) reduced formulas."""
    targets: NDArray[np.float64]
    """(n,) targets, in `unit`."""
    unit: str | None
    theory: str | None


def count_labels(table: str, target: str) -> int:
    """Return how many rows of a table have a finite `target`."""
    values = read_table(table, columns=[target]).column(target).cast(pa.float64())
    return int(np.isfinite(values.fill_null(np.nan).to_numpy()).sum())


def check_unique_ids(table: str) -> None:
    """Raise UserError, in one line, if an id of a crystals table stands in two rows.

    A crystal that is held out, or known again, is found by its id.
    """
    ids = read_table(table, columns=["id"]).column("id").drop_null().combine_chunks()
    (again,) = duplicated([ids])
    if again.any():
        twice = ids[int(again.argmax())].as_py()
        raise UserError(
            f"{table}: the id {twice!r} stands in two rows; each crystal needs one of its own"
        )


def read_labels(
    graphs: str, target: str, source: str, cutoff: float | None = None
) -> tuple[Labels, list[Reject]]:
    """Return the labelled rows of a graphs table, and a reject for each other row.

    Those are rows without a label and, where the table's pairs are longer than `cutoff` (Å), rows
    without a pair within it. `source` is where the crystals come from, for the rejects.
    Raises UserError, in one line, if there is no such numeric column.
    """
    schema = table_schema(graphs)
    check_target(schema, target, graphs)
    table = read_table(graphs, columns=["id", "formula", target])
    rows, rejects = np.arange(table.num_rows), list[Reject]()
    if cutoff is not None and cutoff < table_cutoff(schema):
        lonely = np.concatenate([rows_without_pairs(part, cutoff) for part in iter_tables(graphs)])
        table, rejects = reject_without_pairs(table, lonely, cutoff, source, Stage.FEATURIZE)
        rows = rows[~lonely]
    field = table.schema.field(target)
    values = table.column(target).cast(pa.float64()).to_numpy()
    labelled = np.isfinite(values)
    rejects += reject_unlabelled(table.column("id"), values, target, source)
    kept, rows, values = table.filter(pa.array(labelled)), rows[labelled], values[labelled]
    return (
        Labels(
            rows,
            kept.column("id").combine_chunks(),
            kept.column("formula").combine_chunks(),
            values,
            *column_metadata(field),
        ),
        rejects,
    )


def split_labels(labels: Labels, config: TrainConfig) -> Split:
    """Return the positions among the labels of training, calibration and test rows."""
    rows = len(labels.rows) if config.split == "random" else labels.formulas
    return split_rows(rows, config.test, config.calibration, config.split, config.seed)
