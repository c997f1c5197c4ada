"""`CrystalBatch`: many crystals as flat arrays, the form every computation works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError


class CrystalBatch(NamedTuple):
    """B crystals with N atoms in all, concatenated.

    Crystal b owns the atoms `offsets[b]:offsets[b + 1]`.
    """

    lattice: NDArray[np.float64]
    """(B, 3, 3) Å; rows are the lattice vectors a, b, c."""
    atomic_numbers: NDArray[np.uint8]
    """(N,) atomic number Z of each atom, 1..118."""
    frac_coords: NDArray[np.float64]
    """(N, 3) fractional coordinates."""
    offsets: NDArray[np.int64]
    """(B + 1,) first atom of each crystal; offsets[0] = 0 and offsets[B] = N."""

    @property
    def n_crystals(self) -> int:
        """B, the number of crystals."""
        return len(self.offsets) - 1

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """(B,) atoms of each crystal."""
        return np.diff(self.offsets)

    @property
    def volume_per_atom(self) -> NDArray[np.float64]:
        """(B,) volume of each cell over its number of atoms, Å³."""
        return np.abs(np.linalg.det(self.lattice)) / self.n_atoms

    def read_only(self) -> CrystalBatch:
        """Return views that cannot be written; numba compiles anew for each mixture with others."""
        views = CrystalBatch(
            self.lattice.view(),
            self.atomic_numbers.view(),
            self.frac_coords.view(),
            self.offsets.view(),
        )
        for part in views:
            part.flags.writeable = False
        return views

    def slice(self, start: int, stop: int) -> CrystalBatch:
        """Return the crystals `start:stop`, as views."""
        offsets = self.offsets[start : stop + 1]
        atoms = slice(offsets[0], offsets[-1])
        return CrystalBatch(
            self.lattice[start:stop],
            self.atomic_numbers[atoms],
            self.frac_coords[atoms],
            offsets - offsets[0],
        )

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> CrystalBatch:
        """Return the crystals at `indices` (repeats allowed), in that order."""
        index = np.asarray(indices, dtype=np.int64)
        atoms, offsets = ragged_take(self.offsets, index)
        return CrystalBatch(
            self.lattice[index], self.atomic_numbers[atoms], self.frac_coords[atoms], offsets
        )

    @classmethod
    def from_arrow(cls, table: pa.Table | pa.RecordBatch) -> CrystalBatch:
        """Return the crystals of an Arrow table (columns of `crystals.schema.CRYSTAL_SCHEMA`).

        The arrays are views of Arrow's memory where a column is one chunk of the expected type.
        Rows with a null or with list lengths that disagree raise ValueError: `validation` finds
        and names them first.
        """
        lattice, _ = _flat(table.column("lattice"), np.float64)
        numbers, offsets = _flat(table.column("atomic_numbers"), np.uint8)
        coords, coord_offsets = _flat(table.column("frac_coords"), np.float64)
        if lattice.size != 9 * table.num_rows or not np.array_equal(coord_offsets, 3 * offsets):
            raise UserError(
                "crystals with null or ragged columns: each needs 9 lattice components, "
                "N atomic numbers and 3N fractional coordinates"
            )
        return cls(lattice.reshape(-1, 3, 3), numbers, coords.reshape(-1, 3), offsets)

    @classmethod
    def concatenate(cls, batches: Sequence[CrystalBatch]) -> CrystalBatch:
        """Return the crystals of `batches` as one batch, in order."""
        sizes = np.concatenate([np.zeros(1, np.int64), *(batch.n_atoms for batch in batches)])
        return cls(
            np.concatenate([np.zeros((0, 3, 3)), *(batch.lattice for batch in batches)]),
            np.concatenate([np.zeros(0, np.uint8), *(batch.atomic_numbers for batch in batches)]),
            np.concatenate([np.zeros((0, 3)), *(batch.frac_coords for batch in batches)]),
            np.cumsum(sizes),
        )


def ragged_take(
    offsets: NDArray[np.int64], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (elements, new offsets) that pick the segments `index` of a ragged array.

    `offsets` (B + 1,) delimits the segments; `elements` indexes the flat values.
    """
    lengths = offsets[index + 1] - offsets[index]
    new_offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    starts = np.repeat(offsets[index] - new_offsets[:-1], lengths)
    return starts + np.arange(new_offsets[-1]), new_offsets


def _flat(
    column: pa.Array | pa.ChunkedArray, dtype: type[np.generic]
) -> tuple[NDArray, NDArray[np.int64]]:
    """Return a list column as (flat values, offsets (B + 1,)), offsets starting at 0."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps a column too long for one array
        array = pa.concat_arrays(array.chunks)
    if isinstance(array.type, pa.FixedSizeListType):
        size = array.type.list_size
        offsets = np.arange(len(array) + 1, dtype=np.int64) * size
    else:
        raw = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
        offsets = raw - raw[0] if len(raw) else np.zeros(1, np.int64)
    values = array.flatten().to_numpy(zero_copy_only=False)
    return values.astype(dtype, copy=False), offsets
