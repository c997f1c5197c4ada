"""Graphs joined piece by piece: in memory up to a size, beyond it in files mapped into memory."""

from __future__ import annotations

import mmap
import tempfile
from typing import IO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from emrl_ray.features.graphs import Graphs
from emrl_ray.features.pairs import Pairs

MAX_ATOMS = np.iinfo(np.int32).max
"""Pairs count atoms in int32."""


class GraphStore:
    """Joins graphs that come piece by piece.

    Once they are more than `max_bytes` they lie in files below the folder for temporary files, of
    which memory holds what is being read. The files have no names: their space is free once nothing
    refers to the joined graphs, or the process has died.
    """

    def __init__(self, max_bytes: float) -> None:
        self._max_bytes = max_bytes
        self._columns = [_Column(kind) for kind in (np.uint8, np.int32, np.int32, np.float32)]
        self._n_atoms: list[NDArray[np.int64]] = []
        self._n_pairs: list[NDArray[np.int64]] = []
        self._atoms = self._bytes = 0

    def append(self, graphs: Graphs) -> None:
        """Add graphs at the end. Raises OverflowError, in one line, for more atoms than int32 counts."""
        pairs, first = graphs.pairs, self._atoms
        self._atoms += len(graphs.atomic_numbers)
        if self._atoms > MAX_ATOMS:
            raise OverflowError(f"more than {MAX_ATOMS:,} atoms for one worker: use more --workers")
        parts: tuple[NDArray, ...] = (
            graphs.atomic_numbers,
            pairs.center + np.int32(first),
            pairs.neighbor + np.int32(first),
            pairs.distance.astype(np.float32, copy=False),
        )
        for column, part in zip(self._columns, parts, strict=True):
            column.append(part)
            self._bytes += part.nbytes
        self._n_atoms.append(np.diff(graphs.atom_offsets))
        self._n_pairs.append(pairs.n_pairs)
        if self._bytes > self._max_bytes:
            for column in self._columns:
                column.move_to_file()

    def joined(self) -> Graphs:
        """Return all graphs, in order; nothing can be added after."""
        numbers, center, neighbor, distance = (column.values() for column in self._columns)
        return Graphs(
            numbers,
            _offsets(self._n_atoms),
            Pairs(center, neighbor, distance, _offsets(self._n_pairs)),
        )


def _offsets(lengths: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum()


class _Column:
    """A flat array that grows."""

    def __init__(self, kind: DTypeLike) -> None:
        self._kind = np.dtype(kind)
        self._parts: list[NDArray] = []
        self._file: IO[bytes] | None = None

    def append(self, values: NDArray) -> None:
        if self._file is None:
            self._parts.append(values)
        else:
            self._file.write(np.ascontiguousarray(values).data)

    def move_to_file(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # the mapping keeps it
            parts, self._parts = self._parts, []
            for part in parts:
                self.append(part)

    def values(self) -> NDArray:
        """Return the whole array; what it is made of is given up."""
        parts, self._parts = self._parts, []
        if self._file is None or self._file.tell() == 0:  # nothing cannot be mapped
            return np.concatenate([np.zeros(0, self._kind), *parts])
        with self._file as file:
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(
                mmap.MADV_RANDOM
            )  # rows are read in random order: what is near is not next
        return np.frombuffer(mapped, self._kind)
