"""What every way to generate a library has in common: candidate crystals by their number."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER
from emrl_ray.crystals.schema import Reject


class GeneratedBatch(NamedTuple):
    """B candidates."""

    crystals: CrystalBatch
    charges: NDArray[np.int64]
    """(N,) formal charge of each atom, e; those of a crystal add up to zero."""
    kinds: list[str]
    """What each is made from, such as the name of a prototype; ids begin with it."""
    formulas: list[str]
    """Reduced formula of each."""
    columns: dict[str, pa.Array]
    """Further columns of the crystals table."""


class Candidates(Protocol):
    """The candidates of a library, numbered from 0; a number determines its crystal."""

    @property
    def combinations(self) -> int:
        """Distinct combinations of structure and ions."""

    @property
    def total(self) -> int | None:
        """How many candidates there are; None where each combination is strained ever anew."""

    @property
    def parents_read(self) -> int:
        """Crystals that were read to make candidates from, those not fit for it included."""

    @property
    def rejects(self) -> list[Reject]:
        """Those of them that are not fit for it."""

    def make(self, numbers: NDArray[np.int64]) -> GeneratedBatch:
        """Return the candidates of ascending `numbers` (B,), at least one."""


class CompositionLimits(NamedTuple):
    """Which elements, how many of them and how many atoms a candidate may have."""

    elements: NDArray[np.bool_]
    """(119,) whether an element may be in it, by atomic number; [0] is true."""
    max_elements: int
    max_atoms: int

    @classmethod
    def of(
        cls, excluded: frozenset[int], only: frozenset[int], max_elements: int, max_atoms: int
    ) -> CompositionLimits:
        """Return what is left without `excluded` and, unless it is empty, within `only`."""
        elements = np.full(MAX_ATOMIC_NUMBER + 1, not only)
        elements[[0, *only]] = True
        elements[list(excluded)] = False
        return cls(elements, max_elements, max_atoms)

    def allows(
        self, elements: NDArray[np.uint8], n_atoms: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """Return (M,) whether crystals may be made of `elements` (M, K), 0 for none, all different."""
        few = np.count_nonzero(elements, axis=1) <= self.max_elements
        return self.elements[elements].all(axis=1) & few & (n_atoms <= self.max_atoms)
