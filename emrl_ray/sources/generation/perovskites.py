"""Cubic perovskites ABX3 of given elements, with the factors that say whether they may form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config import UserError
from emrl_ray.crystals.elements import SYMBOLS, reduced_formula
from emrl_ray.crystals.schema import Reject
from emrl_ray.sources.generation.base import CompositionLimits, GeneratedBatch
from emrl_ray.sources.generation.ion_assignments import IonAssignments
from emrl_ray.sources.generation.ionic_radii import Ion, shannon_ions
from emrl_ray.sources.generation.prototypes import prototypes
from emrl_ray.sources.generation.strained_prototypes import build

KIND = "perovskite"
SITES = {"a": (1, 12), "b": (1, 6), "x": (-1, 6)}
"""Sign of the charge and coordination number of the ion on each site."""
Window = tuple[float, float]


@dataclass(frozen=True)
class Perovskites:
    """The neutral perovskites of some elements, one for each choice of A, B and X."""

    neutral: IonAssignments
    tolerance: NDArray[np.float64]
    """(M,) Goldschmidt's tolerance factor."""
    octahedral: NDArray[np.float64]
    """(M,) radius of B in those of X."""

    @classmethod
    def of(
        cls,
        elements: Mapping[str, Sequence[int]],
        composable: CompositionLimits,
        tolerance: Window | None,
        octahedral: Window | None,
    ) -> Self:
        """Return those of the elements (atomic numbers) for the sites a, b and x.

        `tolerance` and `octahedral` are the ranges in which the factors have to lie. Raises UserError,
        in one line, for an element without an ion of the right sign, or if no perovskite is left.
        """
        choices = [_ions(site, numbers) for site, numbers in elements.items()]
        prototype = next(each for each in prototypes() if each.name == KIND)
        found = [ions for ions in _neutral(*choices) if len({ion.element for ion in ions}) == 3]
        rows = [row for ions in found if (row := _Row.of(*ions)).within(tolerance, octahedral)]
        numbers = np.array([row.atomic_numbers for row in rows], np.uint8).reshape(-1, 3)
        allowed = composable.allows(numbers, np.full(len(rows), len(prototype.site_kinds)))
        rows = [row for row, kept in zip(rows, allowed, strict=True) if kept]
        if not rows:
            limits = "--tolerance, --octahedral, --max-elements, --max-atoms"
            reason = f"{limits} or the elements leave none of them"
            raise UserError(
                f"--a, --b, --x: {reason if found else 'no neutral ABX3 of three elements is there'}"
            )
        neutral = IonAssignments(
            (prototype,),
            np.zeros(len(rows), np.int64),
            np.array([row.atomic_numbers for row in rows], np.uint8),
            np.array([row.charges for row in rows], np.int64),
            np.array([row.lattice_constant for row in rows]),
            np.array([row.formula for row in rows]),
        )
        factors = np.array([(row.tolerance, row.octahedral) for row in rows])
        return cls(neutral, factors[:, 0], factors[:, 1])

    @property
    def combinations(self) -> int:
        """Choices of A, B and X."""
        return len(self.neutral)

    @property
    def total(self) -> int:
        """As many as there are combinations."""
        return len(self.neutral)

    @property
    def parents_read(self) -> int:
        """None: nothing is read."""
        return 0

    @property
    def rejects(self) -> list[Reject]:
        """None: nothing is read."""
        return []

    def make(self, numbers: NDArray[np.int64]) -> GeneratedBatch:
        """Return the perovskites of `numbers` (B,)."""
        generated = build(self.neutral, numbers, np.zeros((len(numbers), 3, 3)))
        columns = {
            "tolerance_factor": pa.array(self.tolerance[numbers]),
            "octahedral_factor": pa.array(self.octahedral[numbers]),
        }
        formulas = self.neutral.formulas[numbers].tolist()
        kinds = [KIND] * len(numbers)
        return GeneratedBatch(generated.crystals, generated.charges, kinds, formulas, columns)


@dataclass(frozen=True)
class _Row:
    """One perovskite."""

    atomic_numbers: tuple[int, int, int]
    charges: tuple[int, int, int]
    tolerance: float
    octahedral: float
    lattice_constant: float

    @classmethod
    def of(cls, a: Ion, b: Ion, x: Ion) -> Self:
        """Return the perovskite of three ions.

        t = (r_A + r_X) / √2 (r_B + r_X) with Shannon's radii at the coordinations of `SITES` (V. M.
        Goldschmidt, Naturwissenschaften 14, 477 (1926)). Lattice constant, Å: 0.06741 + 0.49052 (r_A +
        r_X) + 1.29212 (r_B + r_X), all radii sixfold (R. Ubic, J. Am. Ceram. Soc. 90, 3326 (2007)).
        """
        r_a, r_b, r_x = (
            ion.radius(coordination)
            for ion, (_, coordination) in zip((a, b, x), SITES.values(), strict=True)
        )
        return cls(
            (a.atomic_number, b.atomic_number, x.atomic_number),
            (a.charge, b.charge, x.charge),
            (r_a + r_x) / (math.sqrt(2) * (r_b + r_x)),
            r_b / r_x,
            0.06741 + 0.49052 * (a.radius(6) + x.radius(6)) + 1.29212 * (b.radius(6) + x.radius(6)),
        )

    def within(self, tolerance: Window | None, octahedral: Window | None) -> bool:
        """Return whether both factors lie in their ranges."""
        factors = ((self.tolerance, tolerance), (self.octahedral, octahedral))
        return all(not window or window[0] <= value <= window[1] for value, window in factors)

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return reduced_formula(np.repeat(self.atomic_numbers, (1, 1, 3)))


def _ions(site: str, numbers: Sequence[int]) -> list[Ion]:
    """Return the ions of elements that may stand on a site."""
    sign, _ = SITES[site]
    found: list[Ion] = []
    for number in dict.fromkeys(numbers):
        ions = [ion for ion in shannon_ions().values() if ion.atomic_number == number]
        right = [ion for ion in ions if ion.charge * sign > 0]
        if not right:
            kind = "cation" if sign > 0 else "anion"
            raise UserError(f"--{site} {SYMBOLS[number - 1]}: Shannon lists no {kind} of it")
        found += right
    return found


def _neutral(
    cations: list[Ion], others: list[Ion], anions: list[Ion]
) -> list[tuple[Ion, Ion, Ion]]:
    """Return the neutral ABX3 in the order of the ions; of the same elements those of commonest states."""
    best: dict[tuple[str, str, str], tuple[Ion, Ion, Ion]] = {}
    for a in cations:
        for b in others:
            for x in anions:
                key = a.element, b.element, x.element
                if a.charge + b.charge + 3 * x.charge or (
                    key in best and sum(ion.rank for ion in best[key]) <= a.rank + b.rank + x.rank
                ):
                    continue
                best[key] = a, b, x
    return list(best.values())
