"""`Graphs`: crystals as training sees them, and the graphs table that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.batch import CrystalBatch, ragged_take
from emrl_ray.features.pairs import Pairs, filter_cutoff, find_pairs, take_pairs

CUTOFF_KEY = b"emrl_ray.cutoff"
SOURCE_KEY = b"emrl_ray.crystals"
"""Metadata of a graphs table: the fingerprint of the crystals table that it was made from."""
GRAPH_COLUMNS = ("atomic_numbers", "center", "neighbor", "distance")


class Graphs(NamedTuple):
    """B crystals with N atoms, and the ordered pairs within a cutoff."""

    atomic_numbers: NDArray[np.uint8]
    """(N,) atomic numbers."""
    atom_offsets: NDArray[np.int64]
    """(B + 1,) first atom of each crystal."""
    pairs: Pairs
    """The P ordered pairs; `center` and `neighbor` index the N atoms."""

    @property
    def n_crystals(self) -> int:
        """B, the number of crystals."""
        return len(self.atom_offsets) - 1

    @property
    def arrays(self) -> tuple[NDArray, ...]:
        """What compiled loops take of the graphs, in their order: the atoms, then the pairs."""
        return (self.atomic_numbers, self.atom_offsets, *self.pairs)

    @property
    def max_pairs(self) -> int:
        """The unordered pairs of the crystal that has most of them."""
        return int(self.pairs.n_pairs.max(initial=0)) // 2

    def take(self, crystals: NDArray[np.integer] | Sequence[int]) -> Graphs:
        """Return the given crystals (repeats allowed), in that order, as a batch of their own."""
        index = np.asarray(crystals, dtype=np.int64)
        atoms, offsets = ragged_take(self.atom_offsets, index)
        pairs = take_pairs(self.pairs, self.atom_offsets, index)
        return Graphs(self.atomic_numbers[atoms], offsets, pairs)

    @classmethod
    def from_crystals(cls, batch: CrystalBatch, cutoff: float) -> Graphs:
        """Return the graphs of a valid batch, with pairs up to `cutoff` (Å)."""
        return cls(batch.atomic_numbers, batch.offsets, find_pairs(batch, cutoff))

    @classmethod
    def from_table(cls, table: pa.Table, cutoff: float) -> Graphs:
        """Return the graphs of a graphs table, with pairs up to `cutoff` (Å).

        Raises UserError, in one line, if the table was made with a shorter cutoff.
        """
        made_with = table_cutoff(table.schema)
        if cutoff > made_with:
            raise UserError(
                f"--cutoff {cutoff}: the graphs table has pairs up to {made_with} Å only; "
                "featurize again with the longer cutoff"
            )
        numbers, atom_offsets = _ragged(table, "atomic_numbers")
        center, offsets = _ragged(table, "center")
        neighbor, _ = _ragged(table, "neighbor")
        distance, _ = _ragged(table, "distance")
        first_atoms = np.repeat(atom_offsets[:-1], np.diff(offsets)).astype(np.int32)
        pairs = Pairs(center + first_atoms, neighbor + first_atoms, distance, offsets)
        return cls(
            numbers, atom_offsets, pairs if cutoff == made_with else filter_cutoff(pairs, cutoff)
        )

    def to_table(self, cutoff: float, columns: pa.Table) -> pa.Table:
        """Return a graphs table: `columns` (id, targets, ...; B rows), then the graphs.

        Distances are stored as float32; pair indices count the atoms of one crystal.
        """
        pairs = self.pairs
        first_atoms = np.repeat(self.atom_offsets[:-1], pairs.n_pairs).astype(np.int32)
        lists = (
            _lists(self.atom_offsets, self.atomic_numbers),
            _lists(pairs.offsets, pairs.center - first_atoms),
            _lists(pairs.offsets, pairs.neighbor - first_atoms),
            _lists(pairs.offsets, pairs.distance.astype(np.float32)),
        )
        for name, array in zip(GRAPH_COLUMNS, lists, strict=True):
            columns = columns.append_column(name, array)
        return with_cutoff(columns, cutoff)


def rows_without_pairs(table: pa.Table, cutoff: float) -> NDArray[np.bool_]:
    """Return (B,) whether a row of a graphs table has no pair within `cutoff` (Å), at most its own."""
    return Graphs.from_table(table, cutoff).pairs.n_pairs == 0


def with_cutoff(table: pa.Table, cutoff: float) -> pa.Table:
    """Return a graphs table whose metadata say that its pairs reach up to `cutoff` (Å)."""
    return table.replace_schema_metadata(
        {**(table.schema.metadata or {}), CUTOFF_KEY: repr(float(cutoff)).encode()}
    )


def table_cutoff(schema: pa.Schema) -> float:
    """Return the cutoff (Å) that a graphs table was made with."""
    metadata = schema.metadata or {}
    if CUTOFF_KEY not in metadata:
        raise UserError("not a graphs table: no cutoff in its metadata; make one with featurize")
    return float(metadata[CUTOFF_KEY])


def _lists(offsets: NDArray[np.int64], values: NDArray) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))


def _ragged(table: pa.Table, name: str) -> tuple[NDArray, NDArray[np.int64]]:
    """Return a list column as flat values and offsets, over all its chunks."""
    chunks = table.column(name).chunks
    values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks]
    lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in chunks]
    empty = table.schema.field(name).type.value_type.to_pandas_dtype()
    return (
        np.concatenate([np.zeros(0, empty), *values]),
        np.concatenate([[0], *lengths]).cumsum().astype(np.int64),
    )


TIE = 1e-3
"""Å; neighbours that are farther than the last one by less than this are as near as it."""


def nearest_neighbor_graph(graphs: Graphs, count: int) -> Graphs:
    """Return the graphs with the ordered pairs of each atom and its `count` nearest neighbours.

    All neighbours as near as the last of them count too, so that which are kept does not depend on
    the order of the atoms or on the cell. Nearest to farthest, atom by atom.
    """
    pairs = graphs.pairs
    order = np.lexsort((pairs.distance, pairs.center))
    center, distance = pairs.center[order], pairs.distance[order]
    first = np.searchsorted(center, np.arange(len(graphs.atomic_numbers) + 1))
    last = np.minimum(first[:-1] + count, first[1:]) - 1
    reach = np.full(len(first) - 1, -np.inf)
    paired = first[1:] > first[:-1]
    reach[paired] = distance[last[paired]] + TIE
    near = distance <= reach[center]
    kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(near)])
    chosen = order[near]
    return graphs._replace(
        pairs=Pairs(center[near], pairs.neighbor[chosen], distance[near], kept[pairs.offsets])
    )
