"""Which ions replace which: substitution probabilities learned from the ICSD."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.sources.generation.ionic_radii import shannon_ions

COORDINATION = 6
"""Coordination number of the radii by which replaced ions are compared in size."""


class IonTable(NamedTuple):
    """S ions, and how likely one stands in the place of another."""

    atomic_numbers: NDArray[np.uint8]
    """(S,)"""
    charges: NDArray[np.int64]
    """(S,) e."""
    radii: NDArray[np.float64]
    """(S,) Shannon's radius at `COORDINATION` (see `Ion.radius`), Å."""
    probability: NDArray[np.float64]
    """(S, S) [new, old]: of the ion `new` where a compound of the same structure has `old`; 0 where
    the ICSD has no such pair."""
    place: dict[tuple[int, int], int]
    """Place of an ion by its atomic number and charge."""

    def name(self, ion: int) -> str:
        """Return the name of an ion, such as Na+ or Ti4+."""
        charge = int(self.charges[ion])
        symbol = shannon_ions()[int(self.atomic_numbers[ion]), charge].element
        return f"{symbol}{abs(charge) if abs(charge) > 1 else ''}{'+' if charge > 0 else '-'}"


class Replacements(NamedTuple):
    """R ways to replace the K ions of a compound, the most likely first."""

    ions: NDArray[np.int16]
    """(R, K) place of the new ions in the table."""
    probability: NDArray[np.float64]
    """(R,) product over the ions, those that stay included."""


@lru_cache(maxsize=1)
def ion_table() -> IonTable:
    """Return the ions of pymatgen's model that have a radius, ordered by element and charge.

    G. Hautier, C. Fischer, V. Ehrlacher, A. Jain, G. Ceder, Inorg. Chem. 50, 656 (2011), eq. 6: p(new |
    old) = exp(λ(new, old)) / Σ exp(λ(any, old)). The published model gives pairs that were never
    seen a small weight of their own; it stays in the sum, but they are not proposed.
    """
    from pymatgen.analysis.structure_prediction.substitution_probability import (
        SubstitutionProbability,
    )

    model, known = SubstitutionProbability(), shannon_ions()
    species = {(ion.Z, int(ion.oxi_state or 0)): ion for ion in model.species}
    keys = sorted(species)
    weight = np.empty((len(keys), len(keys)))
    for row, new in enumerate(keys):
        for column, old in enumerate(keys[: row + 1]):
            found = model.get_lambda(species[new], species[old])
            weight[row, column] = weight[column, row] = np.exp(found)
    seen = np.where(weight > np.exp(model.alpha), weight, 0)
    probability = seen / weight.sum(axis=0)  # the model's own sums depend on the order of a set
    listed = np.array([key in known for key in keys])
    keys = [key for key in keys if key in known]
    return IonTable(
        np.array([number for number, _ in keys], np.uint8),
        np.array([charge for _, charge in keys], np.int64),
        np.array([known[key].radius(COORDINATION) for key in keys]),
        probability[np.ix_(listed, listed)],
        {key: place for place, key in enumerate(keys)},
    )


def replacements(
    table: IonTable,
    old: Sequence[int],
    amounts: Sequence[int],
    elements: NDArray[np.bool_],
    threshold: float,
) -> Replacements:
    """Return the neutral ways to replace the ions `old` (K,), of which there are `amounts` (K,).

    An ion takes the place of one with a charge of the same sign, the new elements are all different
    and allowed by `elements` (119,), at least one is new, and the probability is `threshold` or more.
    Of several charges of the same elements the most likely are kept.
    """
    signs = np.sign(table.charges)
    fit = (signs[:, None] == signs[list(old)]) & elements[table.atomic_numbers][:, None]
    chances = np.where(fit, table.probability[:, list(old)], 0)
    with np.errstate(divide="ignore"):  # an ion that nothing may replace
        least = threshold / np.cumprod(chances.max(axis=0)[::-1])[::-1]
    least = np.append(least[1:], threshold)  # at each step, if the rest are as likely as can be
    ions, probability = np.zeros((1, 0), np.int16), np.ones(1)
    for chance, needed in zip(chances.T, least, strict=True):
        choices = np.flatnonzero(chance)
        product = probability[:, None] * chance[choices]
        rows, columns = np.nonzero(product >= needed)
        ions = np.column_stack([ions[rows], choices[columns].astype(np.int16)])
        probability = product[rows, columns]
        earlier = table.atomic_numbers[ions[:, :-1]]
        different = (earlier != table.atomic_numbers[ions[:, -1]][:, None]).all(axis=1)
        ions, probability = ions[different], probability[different]
    new = table.atomic_numbers[ions]
    kept = (table.charges[ions] @ np.asarray(amounts) == 0) & (
        new != table.atomic_numbers[np.asarray(old)]
    ).any(axis=1)
    order = np.flatnonzero(kept)[np.argsort(-probability[kept], kind="stable")]
    _, first = np.unique(new[order], axis=0, return_index=True)
    chosen = order[np.sort(first)]
    return Replacements(ions[chosen], probability[chosen])
