"""The rows of a search: those that every trial can read, and those that trials are scored on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.config import TuneConfig, UserError
from emrl_ray.crystals.schema import Reject, Stage
from emrl_ray.features.graphs import rows_without_pairs
from emrl_ray.features.pairs import reject_without_pairs
from emrl_ray.io.parquet import table_files
from emrl_ray.io.paths import Location, resolve
from emrl_ray.model.labels import Labels, split_labels
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.training.evaluation import MIN_ROWS, Split, split_rows


class SearchRows(NamedTuple):
    """Positions among the labels, ascending."""

    learned: NDArray[np.int64]
    """What networks and heads are fitted to."""
    validation: NDArray[np.int64]
    """What they are scored on."""
    unseen: Split
    """The split of `train`: no trial sees its calibration and test rows."""

    def counts(self) -> dict[str, int]:
        """Return how many rows each part has."""
        parts = {"learned": self.learned, "validation": self.validation}
        parts |= {"calibration": self.unseen.calibration, "test": self.unseen.test}
        return {name: len(part) for name, part in parts.items()}


def split_search(labels: Labels, config: TuneConfig) -> SearchRows:
    """Return the rows of a search; calibration and test rows are those of `train` with the same seed.

    Raises UserError, in one line, if too few are left to learn from.
    """
    split = split_labels(labels, config.training(config.first_values(), out=config.out))
    rows = len(split.train)
    if rows >= MIN_ROWS:
        of_train = rows if config.split == "random" else labels.formulas.take(split.train)
        inner = split_rows(of_train, test=config.validation, kind=config.split, seed=config.seed)
        if len(inner.train) >= MIN_ROWS:
            return SearchRows(split.train[inner.train], split.train[inner.test], split)
        rows = len(inner.train)
    raise UserError(
        f"--test {config.test} --calibration {config.calibration} --validation {config.validation}: "
        f"leave {rows} rows for training, at least {MIN_ROWS} are needed"
    )


def keep_rows_with_pairs(graphs: str, cutoff: float, source: str) -> None:
    """Reject the crystals of a graphs table that have no pair within `cutoff` (Å), shorter than its own.

    So all trials, and the training after them, have the same rows and the same split. A file that has
    such rows is committed anew: rejects, then rows. Done twice, or killed between, it comes to the same.
    `source` is where the crystals come from, for the rejects.
    """
    output = PartitionedOutput(graphs, f"{graphs}/_rejects")
    counts = output.completed()
    for file in table_files(graphs):
        table = pq.read_table(file.path, filesystem=file.filesystem)
        lonely = rows_without_pairs(table, cutoff)
        kept, rejects = reject_without_pairs(table, lonely, cutoff, source, Stage.FEATURIZE)
        if rejects:
            name = file.name.removesuffix(".parquet")
            together = _with_earlier(rejects, resolve(output.rejects) / file.name)
            output.commit(name, kept, together, counts[name].rows_in)


def _with_earlier(rejects: Sequence[Reject], file: Location) -> list[Reject]:
    """Return the rejects in a file that are not among `rejects`, then these."""
    if not file.exists():
        return list(rejects)
    now = {reject.id for reject in rejects}
    earlier = pq.read_table(file.path, filesystem=file.filesystem).to_pylist()
    return [Reject(**row) for row in earlier if row["id"] not in now] + list(rejects)
