"""A model, crystals and graphs, and the options of a training that only fits the heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from emrl_ray.commands.featurize import FeaturizeWorker
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.fingerprints import table_fingerprint
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.runs.partitions import plan_rows
from tests.support.models import CUTOFF, TARGET, make_model, random_crystals

ROWS = 60
LONGER = 6.0
"""Cutoff of the graphs, Å; one crystal has pairs within it and none within that of the network."""


def cubic(name: str, number: int, edge: float, target: float) -> pa.Table:
    """Return a crystal of one atom in a cube."""
    batch = CrystalBatch(
        edge * np.eye(3)[None], np.array([number], np.uint8), np.zeros((1, 3)), np.array([0, 1])
    )
    values = {TARGET: pa.array([target])}
    return crystals_table(batch, [name], [name], values)


def write_inputs(place: Path) -> Path:
    """Write a model, crystals and their graphs into a folder; one crystal has hydrogen, and stands last."""
    make_model(place / "model")
    crystals = random_crystals(ROWS - 1, 1)
    others = [
        cubic("far", 26, 5.0, 125.0),
        cubic("bare", 26, 5.0, np.nan),
        cubic("h", 1, 3.0, 27.0),
    ]
    crystals = pa.concat_tables([crystals, *(table.cast(crystals.schema) for table in others)])
    write_parquet(crystals, resolve(place / "crystals.parquet"))
    (whole,) = plan_rows(str(place / "crystals.parquet"), ROWS + 2)
    output = PartitionedOutput(str(place / "graphs"), str(place / "graphs" / "_rejects"))
    fingerprint = table_fingerprint(str(place / "crystals.parquet"))
    FeaturizeWorker(ValidationLimits(100, 10**6, LONGER, 0.0), output, fingerprint)(whole)
    return place


def options(place: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Return options that make a model of the network as it is."""
    return {
        "crystals": str(place / "crystals.parquet"),
        "graphs": str(place / "graphs"),
        "target": TARGET,
        "out": str(out),
        "cutoff": CUTOFF,
        "width": 16,
        "heads": ["linear"],
        "epochs": 0,
        "init": str(place / "model"),
        "min_distance": 0.0,
        **changes,
    }
