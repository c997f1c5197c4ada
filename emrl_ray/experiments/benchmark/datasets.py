"""The data sets of the protocol: where they are, and their crystals as training sees them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.config import BenchmarkConfig, CrystalLimits, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import (
    GEOMETRY,
    Reject,
    Stage,
    check_crystal_schema,
    check_target,
    float_column,
)
from emrl_ray.crystals.units import column_metadata
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.features.graphs import Graphs
from emrl_ray.features.pairs import filter_cutoff, reject_without_pairs
from emrl_ray.io.parquet import read_table, table_schema
from emrl_ray.io.paths import absolute_uri
from emrl_ray.model.labels import count_labels
from emrl_ray.sources.files.targets import reject_unlabelled
from emrl_ray.training.evaluation import MIN_ROWS

DATA_VARIABLE = "EMRL_RAY_DATA"
MADE_OF_CRYSTALS = "crystals"
"""Name of the data set of `--crystals`."""
DEFAULT_PRESET = "HOIP"
"""Of `--crystals`, as in train."""


class Source(NamedTuple):
    """A labelled table of crystals."""

    table: str
    """Path or URI; in `DATASETS` the name of a file in the folder of the data sets."""
    target: str
    preset: str
    """Name in `config.presets.PRESETS`."""


DATASETS: dict[str, Source] = {
    "HOIP": Source("hoip.parquet", "band_gap", "HOIP"),
    "MPS-FE": Source("mps.parquet", "formation_energy", "MPS-FE"),
    "MPS-BG": Source("mps.parquet", "band_gap", "MPS-BG"),
    "mpb": Source("mpb.parquet", "band_gap", "MPB"),
    "MPL-FE": Source("mpl.parquet", "formation_energy", "MPL-FE"),
    "MPL-BG": Source("mpl.parquet", "band_gap", "MPL-BG"),
}
"""Data sets by name. `mpb` has all binary compounds of MPL and is not the paper's MPB, whose ids are
unknown; NLHM is not among the files."""


class LabeledCrystals(NamedTuple):
    """n crystals that have a target and a pair of atoms within the cutoff."""

    ids: pa.Array
    """(n,)."""
    formulas: pa.Array
    """(n,) reduced formulas."""
    batch: CrystalBatch
    graphs: Graphs
    """With float32 distances."""
    target: str
    """Name of the property."""
    targets: NDArray[np.float64]
    """(n,) in `unit`."""
    unit: str | None

    def take(self, rows: NDArray[np.int64]) -> LabeledCrystals:
        """Return the given rows, in that order."""
        return LabeledCrystals(
            self.ids.take(rows),
            self.formulas.take(rows),
            self.batch.take(rows),
            self.graphs.take(rows),
            self.target,
            self.targets[rows],
            self.unit,
        )


def named_source(name: str, folder: str, option: str = "--dataset") -> Source:
    """Return the data set `name` with its place in `folder`.

    Raises UserError, in one line, if what `option` gave is none.
    """
    if name not in DATASETS:
        raise UserError(f"{option} {name}: choose from {', '.join(DATASETS)}")
    return DATASETS[name]._replace(table=f"{folder.rstrip('/')}/{DATASETS[name].table}")


def check_source(source: Source) -> None:
    """Raise ValueError or OSError, in one line, for a table without the columns or rows that are needed."""
    schema = table_schema(source.table)
    check_crystal_schema(schema, source.table)
    check_target(schema, source.target, source.table)
    labelled = count_labels(source.table, source.target)
    if labelled < MIN_ROWS:
        raise _too_few(source, labelled)


def read_labeled(
    source: Source, cutoff: float, reach: float
) -> tuple[LabeledCrystals, list[Reject]]:
    """Return the rows of a table that `check_source` passes, and a reject for what cannot be learned from.

    They have a target, and a pair of atoms within `cutoff` (Å). Their graphs have the pairs up to
    `reach` (Å), which is at least that. Raises UserError, in one line, if they are fewer than 10.
    """
    table = read_table(source.table, columns=["id", "formula", *GEOMETRY, source.target])
    field = table.schema.field(source.target)
    values = float_column(table, source.target)
    rejects = reject_unlabelled(table.column("id"), values, source.target, source.table)
    labelled = table.take(np.flatnonzero(np.isfinite(values)))
    limits = ValidationLimits.of(CrystalLimits(), cutoff)
    good, invalid = validate(labelled, limits, source.table)
    graphs = _graphs(CrystalBatch.from_arrow(good), reach)
    lonely = filter_cutoff(graphs.pairs, cutoff).n_pairs == 0
    kept, without_pairs = reject_without_pairs(good, lonely, cutoff, source.table, Stage.FEATURIZE)
    if kept.num_rows < MIN_ROWS:
        raise _too_few(source, kept.num_rows)
    if without_pairs:
        graphs = graphs.take(np.flatnonzero(~lonely))
    crystals = LabeledCrystals(
        kept.column("id").combine_chunks(),
        kept.column("formula").combine_chunks(),
        CrystalBatch.from_arrow(kept),
        graphs,
        source.target,
        float_column(kept, source.target),
        column_metadata(field).unit,
    )
    return crystals, [*rejects, *invalid, *without_pairs]


def _too_few(source: Source, rows: int) -> UserError:
    return UserError(
        f"{source.table}: {rows} rows with a {source.target}, at least {MIN_ROWS} are needed"
    )


def at_cutoff(crystals: LabeledCrystals, cutoff: float) -> LabeledCrystals:
    """Return the crystals that have a pair within `cutoff` (Å), with all pairs within it."""
    graphs = _graphs(crystals.batch, cutoff)
    return crystals._replace(graphs=graphs).take(np.flatnonzero(graphs.pairs.n_pairs))


def _graphs(batch: CrystalBatch, cutoff: float) -> Graphs:
    """Return the graphs of crystals as a graphs table keeps them, with float32 distances."""
    graphs = Graphs.from_crystals(batch, cutoff)
    distance = graphs.pairs.distance.astype(np.float32)
    return graphs._replace(pairs=graphs.pairs._replace(distance=distance))


def without_ids(crystals: LabeledCrystals, ids: Sequence[str] | pa.Array) -> LabeledCrystals:
    """Return the crystals whose ids are not among `ids`."""
    known = pc.is_in(crystals.ids, value_set=pa.array(ids, crystals.ids.type))
    return crystals.take(np.flatnonzero(~known.to_numpy(zero_copy_only=False)))


def sources_of(config: BenchmarkConfig) -> dict[str, Source]:
    """Return the data sets of a configuration by name, that of `--transfer` with them.

    Raises UserError, in one line, for one that is unknown.
    """
    if config.crystals is not None:
        assert config.target is not None
        preset = config.preset or DEFAULT_PRESET
        return {MADE_OF_CRYSTALS: Source(absolute_uri(config.crystals), config.target, preset)}
    folder = config.data
    if folder is None:
        if DATA_VARIABLE not in os.environ:
            raise UserError(f"--data: name the folder of the data sets, or set {DATA_VARIABLE}")
        folder = f"{os.environ[DATA_VARIABLE]}/data"
    folder = absolute_uri(folder)
    sources = {name: named_source(name, folder) for name in config.dataset}
    if config.transfer is not None:
        sources[config.transfer] = named_source(config.transfer, folder, "--transfer")
    return sources
