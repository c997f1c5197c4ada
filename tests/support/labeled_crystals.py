"""Crystals with a target to learn, for tests of `train`, `tune` and `benchmark`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from tests.support.crystals import random_batch
from tests.support.models import TARGET, random_crystals

ROWS = 160


def write_crystals(path: Path, rows: int = ROWS) -> Path:
    """Write random crystals with their mean atomic number as target; some rows are bad."""
    batch = random_batch(rows, seed=11, elements=12)
    lonely = CrystalBatch(
        14 * np.eye(3)[None], np.array([2], np.uint8), np.zeros((1, 3)), np.array([0, 1])
    )
    batch = CrystalBatch.concatenate([batch, lonely])
    target = np.add.reduceat(batch.atomic_numbers.astype(float), batch.offsets[:-1]) / batch.n_atoms
    target[3] = np.nan
    table = crystals_table(
        batch,
        [f"c{row}" for row in range(rows + 1)],
        [f"F{row % 7}" for row in range(rows + 1)],
        {"heft": pa.array(target), "sites": pa.array(batch.n_atoms.astype(float))},
        {"heft": pa.field("heft", pa.float64(), metadata={"unit": "eV", "theory": "PBE"})},
    )
    pq.write_table(table, path, row_group_size=64)
    return path


def write_both_targets(folder: Path, count: int) -> None:
    """Write mps.parquet, with both targets of its data sets."""
    crystals = random_crystals(count)
    targets = crystals.column(TARGET)
    gaps = pa.array(np.random.default_rng(1).random(count))
    crystals = crystals.drop_columns([TARGET])
    crystals = crystals.append_column("formation_energy", targets).append_column("band_gap", gaps)
    write_parquet(crystals, resolve(folder / "mps.parquet"))
