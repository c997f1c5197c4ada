"""One crystal as a reader finds it in a file, or what kept the reader from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config.errors import one_line
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.schema import Reject, RejectReason, Stage
from emrl_ray.io.archives import ArchiveError

P = ParamSpec("P")
DETAIL_LENGTH = 300


class ParsedCrystal(NamedTuple):
    """The N atoms of a cell, in the order of the file."""

    lattice: NDArray[np.float64]
    """(3, 3) Å; rows are the lattice vectors a, b, c."""
    atomic_numbers: NDArray[np.uint8]
    """(N,) atomic numbers."""
    frac_coords: NDArray[np.float64]
    """(N, 3) fractional coordinates."""
    id: str | None = None
    """The caller's own id, where the file gives one."""
    values: Mapping[str, str] = MappingProxyType({})
    """Texts of further columns, where the file has any; empty for none."""
    number: int | None = None
    """What the file calls it by, where it has several crystals, none of them with an id, and does not count from 1."""

    def __reduce__(self) -> tuple[Callable[..., ParsedCrystal], tuple[Any, ...]]:
        """Pickle as plain bytes: small arrays take several times as long."""
        lattice, coords = (
            np.asarray(part, np.float64) for part in (self.lattice, self.frac_coords)
        )
        numbers = np.asarray(self.atomic_numbers, np.uint8)
        parts = (lattice.tobytes(), numbers.tobytes(), coords.tobytes(), self.id)
        if not self.values and self.number is None:
            return _unpacked, parts
        return _unpacked, (*parts, dict(self.values), self.number)


def _unpacked(
    lattice: bytes,
    numbers: bytes,
    coords: bytes,
    own_id: str | None,
    values: Mapping[str, str] = MappingProxyType({}),
    number: int | None = None,
) -> ParsedCrystal:
    return ParsedCrystal(
        np.frombuffer(lattice).reshape(3, 3),
        np.frombuffer(numbers, np.uint8),
        np.frombuffer(coords).reshape(-1, 3),
        own_id,
        values,
        number,
    )


def as_batch(crystals: Sequence[ParsedCrystal]) -> CrystalBatch:
    """Return crystals as flat arrays, in order."""
    return CrystalBatch(
        np.array([crystal.lattice for crystal in crystals]).reshape(-1, 3, 3),
        np.concatenate([np.zeros(0, np.uint8), *(c.atomic_numbers for c in crystals)]),
        np.concatenate([np.zeros((0, 3)), *(c.frac_coords for c in crystals)]),
        np.cumsum([0, *(len(crystal.atomic_numbers) for crystal in crystals)]),
    )


class ParseFailure(NamedTuple):
    """Why there is no crystal where one was looked for."""

    reason: RejectReason
    detail: str = ""
    id: str | None = None
    """As that of a crystal, where the file gives one all the same."""
    number: int | None = None
    """As that of a crystal."""

    def reject(self, row_id: str, source: str, stage: Stage) -> Reject:
        """Return the reject of what has this flaw."""
        return Reject(row_id, source, stage, self.reason, self.detail)


class ReadError(Exception):
    """A file, or a part of it, that holds no crystal we can compute with."""

    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        super().__init__(detail)
        self.failure = ParseFailure(reason, detail)


def attempt(
    read: Callable[P, ParsedCrystal], *args: P.args, **kwargs: P.kwargs
) -> ParsedCrystal | ParseFailure:
    """Return the crystal that `read` returns, or the flaw that it raises."""
    try:
        return read(*args, **kwargs)
    except Exception as error:
        return failure_of(error)


def failure_of(error: Exception) -> ParseFailure:
    """Return what an exception in a reader means; what no reader names is unreadable."""
    if isinstance(error, ReadError):
        return error.failure
    if isinstance(error, np.linalg.LinAlgError):
        return ParseFailure(RejectReason.BAD_CELL, "the cell has no volume")
    if isinstance(error, ArchiveError):
        return ParseFailure(RejectReason.UNREADABLE, str(error))
    detail = one_line(f"{type(error).__name__}: {error}")
    return ParseFailure(RejectReason.UNREADABLE, detail[:DETAIL_LENGTH])
