"""Candidates that are known already: the same crystal, at whatever volume."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.geometry.closest_contacts import find_contacts
from emrl_ray.crystals.matching.matcher import StructureIndex
from emrl_ray.crystals.schema import GEOMETRY, Reject
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.io.parquet import read_table

VOLUME = 12.0
"""Å³ per atom at which crystals are compared: about that of dense oxides."""


def read_known(uri: str, limits: ValidationLimits) -> tuple[pa.Table, list[Reject]]:
    """Return the valid crystals of a table, and a reject for each row that no candidate can be."""
    return validate(read_table(uri, ["id", *GEOMETRY]), limits, uri)


class NoveltyFilter:
    """Known crystals, among which candidates are looked up by composition and shape."""

    def __init__(self, table: pa.Table) -> None:
        """Take the valid crystals of a table, those that `read_known` returns."""
        self.ids: list[str] = table.column("id").to_pylist()
        batch = _at_equal_volume(CrystalBatch.from_arrow(table))
        self.known = StructureIndex(batch, find_contacts(batch))

    def find(self, batch: CrystalBatch) -> pa.Array:
        """Return (B,) the id of the first known crystal that each of a batch is, null where there is none.

        The volume of a candidate is an estimate, so both are brought to the same volume per atom.
        """
        batch = _at_equal_volume(batch)
        found = self.known.find(batch, find_contacts(batch)).tolist()
        return pa.array([self.ids[row] if row >= 0 else None for row in found], pa.string())


def _at_equal_volume(batch: CrystalBatch) -> CrystalBatch:
    volume = np.abs(np.linalg.det(batch.lattice)) / batch.n_atoms
    return batch._replace(lattice=batch.lattice * np.cbrt(VOLUME / volume)[:, None, None])
