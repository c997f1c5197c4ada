"""Which rows of a crystals table are crystals that one can compute with; the others become rejects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.config import CrystalLimits
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER
from emrl_ray.crystals.geometry.neighbor_list import expected_pairs, find_overlaps
from emrl_ray.crystals.schema import Reject, RejectReason, Stage, check_crystal_schema

FLATNESS = 1e-6
"""A cell whose volume is at most this share of the product of its lengths counts as flat."""
MAX_COORDINATE = 1e6
"""Fractional coordinates beyond this have lost the digits that place an atom in its cell."""


class ValidationLimits(NamedTuple):
    """What a crystal may be at most."""

    max_atoms: int
    """Most atoms in a cell."""
    max_pairs: int
    """Most ordered pairs within `cutoff` that a cell may be expected to have."""
    cutoff: float | None = None
    """Longest pair distance, Å; None leaves the pairs unchecked."""
    min_distance: float | None = None
    """Sites nearer than this (Å) overlap; None leaves the distances unchecked."""

    @classmethod
    def of(cls, options: CrystalLimits, cutoff: float | None = None) -> ValidationLimits:
        """Return the limits of a verb's options; a `min_distance` of 0 leaves distances unchecked."""
        return cls(options.max_atoms, options.max_pairs, cutoff, options.min_distance or None)

    @property
    def after_reading(self) -> ValidationLimits:
        """What is left to check of crystals that were read within these limits: overlaps were found."""
        return self._replace(min_distance=None)


def validate(
    table: pa.Table, limits: ValidationLimits, source: str | Sequence[str] = ""
) -> tuple[pa.Table, list[Reject]]:
    """Return the good rows of a crystals table, all columns, and a reject for each other row.

    `source` is where the rows come from, for the rejects: one for all or one a row. A row is
    rejected for the first of these that holds: no id, a cell that is null, non-finite or without
    volume, no atoms, an atomic number outside 1..118, coordinates that are not 3N finite numbers,
    more than `max_atoms`, more expected pairs than `max_pairs`, sites nearer than `min_distance`.

    Raises UserError, in one line, if the columns are not those of a crystals table.
    """
    check_crystal_schema(table.schema, source if isinstance(source, str) and source else "table")
    findings = _Findings(table.num_rows)
    _check_columns(table, findings)
    sound = np.flatnonzero(findings.good)
    batch = CrystalBatch.from_arrow(table if len(sound) == table.num_rows else table.take(sound))
    _check_crystals(batch, limits, findings, sound)
    if findings.good.all():
        return table, []
    return table.take(np.flatnonzero(findings.good)), findings.rejects(table.column("id"), source)


class _Findings:
    """What was found of each row: nothing, or the first reason to reject it."""

    def __init__(self, rows: int) -> None:
        self.good = np.ones(rows, bool)
        self.found: dict[int, tuple[RejectReason, str]] = {}

    def reject(
        self, rows: NDArray[np.integer], reason: RejectReason, detail: Callable[[int], str]
    ) -> None:
        """Reject rows that are good so far; `detail` gets the position of a row in `rows`."""
        for position, row in enumerate(rows):
            if self.good[row]:
                self.good[row] = False
                self.found[int(row)] = (reason, detail(position))

    def rejects(self, ids: pa.ChunkedArray, source: str | Sequence[str]) -> list[Reject]:
        """Return the rejects in the order of the rows."""
        return [
            Reject(
                ids[row].as_py() or "",
                source if isinstance(source, str) else source[row],
                Stage.VALIDATE,
                *self.found[row],
            )
            for row in sorted(self.found)
        ]


class _Ragged(NamedTuple):
    """A list column with its nulls: a null list is empty, a null element is NaN."""

    values: NDArray
    lengths: NDArray[np.int64]
    null: NDArray[np.bool_]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> _Ragged:
        array: Any = pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)
        null = np.asarray(array.is_null())
        values = array.flatten()
        if values.null_count:
            values = values.cast(pa.float64())
        lengths = np.asarray(pc.list_value_length(array).fill_null(0), np.int64)
        return cls(values.to_numpy(zero_copy_only=False), np.where(null, 0, lengths), null)

    def rows_with(self, flags: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (rows, element of each) for the first flagged element of every row with one."""
        elements = np.flatnonzero(flags)
        rows = np.searchsorted(np.cumsum(self.lengths), elements, side="right")
        rows, first = np.unique(rows, return_index=True)
        return rows, elements[first]


def _check_columns(table: pa.Table, findings: _Findings) -> None:
    """Reject rows whose lists are null, ragged or of other elements."""
    if table.num_rows == 0:
        return
    lattice, numbers, coords = (
        _Ragged.of(table.column(name)) for name in ("lattice", "atomic_numbers", "frac_coords")
    )
    id_lengths = np.asarray(pc.fill_null(pc.utf8_length(table.column("id")), 0))
    findings.reject(
        np.flatnonzero(id_lengths == 0), RejectReason.UNREADABLE, lambda _: "it has no id"
    )
    bad = np.flatnonzero(lattice.lengths != 9)
    findings.reject(
        bad, RejectReason.BAD_CELL, lambda i: f"{lattice.lengths[bad[i]]} lattice components, not 9"
    )
    empty = np.flatnonzero(numbers.lengths == 0)
    findings.reject(empty, RejectReason.NO_ATOMS, lambda _: "")
    known = (numbers.values >= 1) & (numbers.values <= MAX_ATOMIC_NUMBER)
    if numbers.values.dtype.kind == "f":
        known &= numbers.values == np.rint(numbers.values)
    rows, atoms = numbers.rows_with(~known)
    findings.reject(
        rows,
        RejectReason.UNKNOWN_ELEMENT,
        lambda i: f"atomic number {numbers.values[atoms[i]]}, not 1..{MAX_ATOMIC_NUMBER}",
    )
    ragged = np.flatnonzero(coords.lengths != 3 * numbers.lengths)
    findings.reject(
        ragged,
        RejectReason.BAD_COORDINATES,
        lambda i: f"{coords.lengths[ragged[i]]} coordinates of {numbers.lengths[ragged[i]]} atoms",
    )
    rows, _ = lattice.rows_with(~np.isfinite(lattice.values))
    findings.reject(rows, RejectReason.BAD_CELL, lambda _: "the lattice is not finite")
    rows, _ = coords.rows_with(~(np.abs(coords.values) <= MAX_COORDINATE))
    findings.reject(
        rows, RejectReason.BAD_COORDINATES, lambda _: "fractional coordinates not finite, or huge"
    )


def _check_crystals(
    batch: CrystalBatch, limits: ValidationLimits, findings: _Findings, rows: NDArray[np.integer]
) -> None:
    """Reject sound rows whose cell, size or distances cannot be; `rows` are those of `batch`."""
    with np.errstate(all="ignore"):
        volume = np.abs(np.linalg.det(batch.lattice))
        lengths = np.linalg.norm(batch.lattice, axis=2).prod(axis=1)
        flat = np.flatnonzero(~(np.isfinite(lengths) & (volume > FLATNESS * lengths)))
    findings.reject(
        rows[flat], RejectReason.BAD_CELL, lambda i: f"the volume is {volume[flat[i]]:.3g} Å³"
    )
    big = np.flatnonzero(batch.n_atoms > limits.max_atoms)
    findings.reject(
        rows[big],
        RejectReason.TOO_MANY_ATOMS,
        lambda i: f"{batch.n_atoms[big[i]]} atoms, at most {limits.max_atoms}",
    )
    if limits.cutoff is not None:
        pairs = expected_pairs(batch, limits.cutoff)
        dense = np.flatnonzero(pairs > limits.max_pairs)
        findings.reject(
            rows[dense],
            RejectReason.TOO_MANY_PAIRS,
            lambda i: (
                f"about {pairs[dense[i]]:.3g} pairs within {limits.cutoff} Å, "
                f"at most {limits.max_pairs}"
            ),
        )
    if limits.min_distance is not None:
        left = np.flatnonzero(findings.good[rows])
        overlaps = find_overlaps(batch.take(left), limits.min_distance)
        findings.reject(
            rows[left[np.array([overlap.crystal for overlap in overlaps], np.int64)]],
            RejectReason.OVERLAPPING_SITES,
            lambda i: (
                f"atoms {overlaps[i].first + 1} and {overlaps[i].second + 1} are "
                f"{overlaps[i].distance:.3f} Å apart"
            ),
        )
