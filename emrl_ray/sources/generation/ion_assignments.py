"""Which ions fit on the sites of which prototype, and how large the cell then is."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.elements import reduced_formula
from emrl_ray.sources.generation.base import CompositionLimits
from emrl_ray.sources.generation.ionic_radii import Ion, read_ions
from emrl_ray.sources.generation.prototypes import Prototype, prototypes

MAX_KINDS = 3
"""Most kinds of sites that a prototype has."""
FIT = 0.8
"""Least ratio of a sum of two radii to the distance that the cell leaves for the ions, where they
attract (else one rattles), and of that distance to the sum, where they repel (else they overlap).
For a perovskite the first is a Goldschmidt tolerance factor between 0.8 and 1.25."""


class IonAssignments(NamedTuple):
    """M charge-neutral ways to put ions on the sites of a prototype."""

    prototypes: tuple[Prototype, ...]
    prototype: NDArray[np.int64]
    """(M,) index in `prototypes`."""
    atomic_numbers: NDArray[np.uint8]
    """(M, MAX_KINDS) element of each kind of site, 0 beyond those of the prototype."""
    charges: NDArray[np.int64]
    """(M, MAX_KINDS) formal charge of each kind of site, e."""
    lattice_constant: NDArray[np.float64]
    """(M,) Å; ions of unlike charge are as far apart as their radii add up to, or farther."""
    formulas: NDArray[np.str_]
    """(M,) reduced formula."""

    def __len__(self) -> int:
        """M, the number of combinations."""
        return len(self.prototype)

    def part(self, number: int, parts: int) -> IonAssignments:
        """Return part `number` of `parts` (from 1): those whose composition hashes to it.

        The parts have no composition in common, whatever else is chosen.
        """
        hashes = np.array([zlib.crc32(formula.encode()) % parts for formula in self.formulas])
        return self.where(hashes == number - 1)

    def composable(self, limits: CompositionLimits) -> IonAssignments:
        """Return those of elements, number of elements and number of atoms within `limits`."""
        sizes = np.array([len(each.site_kinds) for each in self.prototypes])[self.prototype]
        return self.where(limits.allows(self.atomic_numbers, sizes))

    def where(self, chosen: NDArray[np.bool_]) -> IonAssignments:
        """Return those for which `chosen` (M,) is true."""
        return IonAssignments(
            self.prototypes,
            self.prototype[chosen],
            self.atomic_numbers[chosen],
            self.charges[chosen],
            self.lattice_constant[chosen],
            self.formulas[chosen],
        )


def ion_assignments() -> IonAssignments:
    """Return the combinations of all prototypes and all ions.

    Of several charge assignments of the same elements, in the same prototype and with the same
    composition, the one with the most common oxidation states is kept: prototype and composition
    determine the charges.
    """
    ions, types = read_ions(), prototypes()
    found = [_of_prototype(index, prototype, ions) for index, prototype in enumerate(types)]
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    return IonAssignments(types, *columns)


def _of_prototype(
    index: int, prototype: Prototype, ions: Sequence[Ion]
) -> tuple[NDArray[np.generic], ...]:
    """Return the columns of `IonAssignments` for one prototype."""
    chosen = _neutral(prototype, ions)
    constants, fits = _fit(prototype, chosen, ions)
    chosen, constants = chosen[fits], constants[fits]
    order = np.argsort(np.array([ion.rank for ion in ions])[chosen].sum(axis=1), kind="stable")
    numbers = np.array([ion.atomic_number for ion in ions], np.uint8)[chosen]
    charges = np.array([ion.charge for ion in ions])[chosen]
    formulas = np.array([reduced_formula(row) for row in numbers[:, prototype.site_kinds]])
    _, first = np.unique(formulas[order], return_index=True)
    kept = order[first]
    padding = ((0, 0), (0, MAX_KINDS - numbers.shape[1]))
    return (
        np.full(len(kept), index),
        np.pad(numbers[kept], padding),
        np.pad(charges[kept], padding),
        constants[kept],
        formulas[kept],
    )


def _neutral(prototype: Prototype, ions: Sequence[Ion]) -> NDArray[np.int64]:
    """Return (M, K) indices of ions of different elements, right in sign, that add up to zero."""
    charges = np.array([ion.charge for ion in ions])
    elements = np.array([ion.atomic_number for ion in ions])
    choices = [np.flatnonzero(charges * kind.sign > 0) for kind in prototype.kinds]
    chosen = np.stack([axis.reshape(-1) for axis in np.meshgrid(*choices, indexing="ij")], axis=1)
    neutral = charges[chosen] @ prototype.stoichiometry == 0
    ordered = np.sort(elements[chosen], axis=1)
    different = (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
    return chosen[neutral & different]


def _fit(
    prototype: Prototype, chosen: NDArray[np.int64], ions: Sequence[Ion]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (M,) lattice constants in Å, and whether the ions fit with it (see `FIT`)."""
    kinds = prototype.kinds
    radii = np.stack(
        [
            np.array([ion.radius(kind.coordination) for ion in ions])[chosen[:, column]]
            for column, kind in enumerate(kinds)
        ],
        axis=1,
    )
    signs = np.array([kind.sign for kind in kinds])
    unlike = signs[:, None] != signs[None, :]
    wanted = (radii[:, :, None] + radii[:, None, :]) / prototype.shortest_distances()
    constants = wanted[:, unlike].max(axis=1)
    attracted = wanted[:, unlike].min(axis=1) / constants >= FIT
    repelled = constants / wanted[:, ~unlike].max(axis=1) >= FIT
    return constants, attracted & repelled
