"""A hand-made representation: what a crystal is made of, and how far apart its atoms are.

No network: with gradient boosted trees it is fitted in seconds, and it is the floor that a learned
representation has to beat. Every column is a mean over atoms, an extreme or a standard deviation,
so that it does not depend on the cell that a crystal is written in.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER, SYMBOLS
from emrl_ray.crystals.geometry.neighbor_list import UnorderedPairs, unordered_pairs
from emrl_ray.features.element_one_hot import GROUPS, PERIODS, VALENCE_ELECTRONS, one_hot_elements
from emrl_ray.features.element_properties import default_csv, property_columns
from emrl_ray.features.representation import Representation
from emrl_ray.features.unique_pairs import check_numbers

CUTOFF = 6.0
"""Å. Chosen on validation rows: HOIP's error is least here, and 14 % larger at 4 Å; on MPS, 4 to 8 Å
cannot be told apart."""
KNOT_SPACING = 1.0
"""Å. A finer histogram gives trees more columns to overfit: on validation rows the error is 2 to 4 %
larger at 0.5 Å."""
FEW_ELEMENTS = 16
"""Up to so many elements in training each pair of species has columns of its own. Their number grows
as the square of the elements', to 136 pairs and 816 columns here, while each pair is in fewer crystals:
with the 63 elements of MPS most columns would be zero but for a few crystals."""
DECIMALS = 5
"""Columns are rounded: their last digits come with the choice of cell, and trees would cut between them."""
CRYSTALS_AT_ONCE = 1024
"""Crystals whose pairs and histograms `embed` holds at a time."""

STATISTICS = ("mean", "deviation", "least", "most")
PAIR_WEIGHTS = ("pairs", "electronegativity difference", "electronegativity product")
SURROUNDINGS = (
    "shortest distance",
    "coordination number",
    "neighbor distance",
    "neighbor electronegativity difference",
    "neighbor electronegativity product",
)
ELECTRONEGATIVITY = "electronegativity_pauling"


class ClassicalFeatures(Representation):
    """Composition, volume, and statistics of elements and distances, as a `Representation`.

    The columns, by name in `names`:

    - the fraction of each element seen in training; the volume per atom, Å³;
    - mean, standard deviation, least and most, over the atoms, of the element properties, in their
      units, and of the `SURROUNDINGS` of an atom;
    - histograms of the distance, per atom: of the pairs, and of the pairs weighted by difference and
      product of the two electronegativities;
    - for each species pair of `species`, the histogram and the shortest distance. A pair of
      species that a crystal does not have within the cutoff has the cutoff as its shortest distance.

    The bins of a histogram overlap: a pair between two knots counts for both, linearly, and
    a pair at the cutoff for none. So none jumps when a pair crosses a bin's edge or the cutoff.
    """

    def __init__(
        self,
        elements: NDArray[np.integer],
        species: NDArray[np.integer],
        cutoff: float = CUTOFF,
        elements_csv: bytes | None = None,
    ) -> None:
        """Fix the columns.

        Args:
            elements: (E,) atomic numbers that have a fraction; other elements have no column.
            species: (S, 2) atomic numbers of the species pairs that have a histogram.
            cutoff: longest pair distance, Å.
            elements_csv: element table as of `features.element_properties`; by default the package's own.

        Raises:
            ValueError: the cutoff is too short for a histogram.
        """
        if not cutoff >= 2 * KNOT_SPACING:
            raise UserError(f"cutoff {cutoff}: must be at least {2 * KNOT_SPACING} Å")
        self._properties = _properties(default_csv() if elements_csv is None else elements_csv)
        self._property_of = np.stack(list(self._properties.values()), axis=1)
        self.elements, self.species, self.cutoff = elements, species.reshape(-1, 2), cutoff
        self._intervals = round(cutoff / KNOT_SPACING)
        self._fraction_of = np.full(MAX_ATOMIC_NUMBER + 1, -1)
        self._fraction_of[elements] = np.arange(len(elements))
        self._species_of = np.full((MAX_ATOMIC_NUMBER + 1, MAX_ATOMIC_NUMBER + 1), -1)
        for one, other in (self.species.T, self.species.T[::-1]):
            self._species_of[one, other] = np.arange(len(self.species))

    @classmethod
    def fit(
        cls, training: CrystalBatch, cutoff: float = CUTOFF, elements_csv: bytes | None = None
    ) -> Self:
        """Return the features for the elements, and if they are few the species pairs, of `training`."""
        check_numbers(training.atomic_numbers)
        elements = np.unique(training.atomic_numbers).astype(np.int64)
        species = np.zeros((0, 2), np.int64)
        if len(elements) <= FEW_ELEMENTS:
            pairs = unordered_pairs(training, cutoff)
            ends = training.atomic_numbers[np.stack([pairs.first, pairs.second], axis=1)]
            species = np.unique(np.sort(ends, axis=1), axis=0).astype(np.int64)
        return cls(elements, species, cutoff, elements_csv)

    @property
    def width(self) -> int:
        """Columns."""
        return len(self.names)

    @property
    def names(self) -> list[str]:
        """What each column is."""
        knots = [f"{k * self.cutoff / self._intervals:g} Å" for k in range(1, self._intervals)]
        symbols = [[SYMBOLS[number - 1] for number in pair] for pair in self.species]
        return [
            *(f"fraction of {SYMBOLS[number - 1]}" for number in self.elements),
            "volume per atom",
            *(f"{statistic} {name}" for name in self._properties for statistic in STATISTICS),
            *(f"{statistic} {name}" for name in SURROUNDINGS for statistic in STATISTICS),
            *(f"{weight} at {knot}" for weight in PAIR_WEIGHTS for knot in knots),
            *(f"{one}-{other} pairs at {knot}" for one, other in symbols for knot in knots),
            *(f"{one}-{other} shortest distance" for one, other in symbols),
        ]

    def embed(self, batch: CrystalBatch) -> NDArray[np.float32]:
        """Return the columns (B, width); a crystal without a pair within the cutoff gets NaN.

        Raises UserError for atomic numbers that are none; `crystals.validation` finds all else.
        """
        check_numbers(batch.atomic_numbers)
        starts = range(0, batch.n_crystals, CRYSTALS_AT_ONCE)
        parts = [self._embed(batch.slice(start, start + CRYSTALS_AT_ONCE)) for start in starts]
        return np.concatenate([np.zeros((0, self.width), np.float32), *parts])

    def _embed(self, batch: CrystalBatch) -> NDArray[np.float32]:
        pairs = self._pairs(batch)
        columns = [
            self._fractions(batch),
            batch.volume_per_atom[:, None],
            _statistics(self._property_of[batch.atomic_numbers], batch.offsets),
            _statistics(_surroundings(pairs, self.cutoff, batch.offsets[-1]), batch.offsets),
            *(self._histograms(pairs, pairs.crystal, w, batch.n_crystals) for w in pairs.weights),
            *self._species_columns(pairs, batch),
        ]
        table = np.concatenate(columns, axis=1).round(DECIMALS).astype(np.float32)
        table[np.bincount(pairs.crystal, minlength=batch.n_crystals) == 0] = np.nan
        return table

    def _pairs(self, batch: CrystalBatch) -> _WeightedPairs:
        found: UnorderedPairs = unordered_pairs(batch, self.cutoff)
        crystal = np.repeat(np.arange(batch.n_crystals), np.diff(found.bounds))
        electronegativity = self._properties[ELECTRONEGATIVITY]
        one, other = (
            electronegativity[batch.atomic_numbers[i]] for i in (found.first, found.second)
        )
        weights = np.stack([np.ones(len(one)), np.abs(one - other), one * other])
        share = 2 / batch.n_atoms[crystal]  # a pair is one neighbour to each of its two atoms
        return _WeightedPairs(found.first, found.second, found.distance, crystal, share, weights)

    def _fractions(self, batch: CrystalBatch) -> NDArray[np.float64]:
        """Return (B, E) fractions of the elements among all atoms."""
        crystal = np.repeat(np.arange(batch.n_crystals), batch.n_atoms)
        element = self._fraction_of[batch.atomic_numbers]
        seen = element >= 0
        counts = np.zeros((batch.n_crystals, len(self.elements)))
        np.add.at(counts, (crystal[seen], element[seen]), 1.0)
        return counts / batch.n_atoms[:, None]

    def _histograms(
        self, pairs: _WeightedPairs, row: NDArray[np.int64], weight: NDArray[np.float64], rows: int
    ) -> NDArray[np.float64]:
        """Return (rows, knots), the pairs' shares times `weight` (U,) added up by `row` (U,).

        The knots divide the range up to the cutoff evenly. Both of its ends are left out: the
        last so that a pair comes in smoothly, the first because atoms are not so near.
        """
        place = pairs.distance * (self._intervals / self.cutoff)
        knot = np.minimum(place.astype(np.int64), self._intervals - 1)
        beyond = np.minimum(place - knot, 1.0)
        size = rows * (self._intervals + 1)
        cell, value = row * (self._intervals + 1) + knot, pairs.share * weight
        total = np.zeros(size)
        total += np.bincount(cell, value * (1 - beyond), size)
        total += np.bincount(cell + 1, value * beyond, size)
        return total.reshape(rows, self._intervals + 1)[:, 1:-1]

    def _species_columns(
        self, pairs: _WeightedPairs, batch: CrystalBatch
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (B, S · knots) histograms and (B, S) shortest distances, Å."""
        numbers, kinds = batch.atomic_numbers, len(self.species)
        kind = self._species_of[numbers[pairs.first], numbers[pairs.second]]
        pairs, kind = pairs.take(kind >= 0), kind[kind >= 0]
        row, rows = pairs.crystal * kinds + kind, batch.n_crystals * kinds
        histograms = self._histograms(pairs, row, pairs.weights[0], rows)
        shortest = np.full(rows, self.cutoff)
        np.minimum.at(shortest, row, pairs.distance)
        columns = (batch.n_crystals, kinds * (self._intervals - 1))
        return histograms.reshape(columns), shortest.reshape(batch.n_crystals, kinds)


class _WeightedPairs(NamedTuple):
    """The U unordered pairs within the cutoff of a batch."""

    first: NDArray[np.int32]
    """(U,) index of an atom of the batch."""
    second: NDArray[np.int32]
    """(U,) index of the other."""
    distance: NDArray[np.float64]
    """(U,) Å."""
    crystal: NDArray[np.int64]
    """(U,) index of the crystal."""
    share: NDArray[np.float64]
    """(U,) what it adds to the crystal's pairs per atom."""
    weights: NDArray[np.float64]
    """(3, U) `PAIR_WEIGHTS`."""

    def take(self, keep: NDArray[np.bool_]) -> _WeightedPairs:
        """Return the pairs where `keep` (U,) is true."""
        return _WeightedPairs(
            self.first[keep],
            self.second[keep],
            self.distance[keep],
            self.crystal[keep],
            self.share[keep],
            self.weights[:, keep],
        )


def _properties(elements_csv: bytes) -> dict[str, NDArray[np.float64]]:
    """Return each element property (119,) by its name; index Z is element Z.

    Group and valence electrons come first: an average over atoms loses the place of its elements in
    the periodic table. Unknown values are the mean of the known ones.
    """
    properties = {
        name: np.where(np.isnan(values), np.nanmean(values), values)
        for name, values in property_columns(elements_csv).items()
    }
    groups, _, valences, _ = np.split(
        one_hot_elements(elements_csv)[1:],
        np.cumsum([GROUPS, PERIODS, VALENCE_ELECTRONS]),
        axis=1,
    )
    places = {
        "group": groups.argmax(axis=1) + 1.0,
        "valence_electrons": valences.argmax(axis=1) + 1.0,
    }
    return {name: np.append(0.0, values) for name, values in (places | properties).items()}


def _surroundings(pairs: _WeightedPairs, cutoff: float, n_atoms: int) -> NDArray[np.float64]:
    """Return (N, 5), the `SURROUNDINGS` of each atom.

    A neighbour at the distance d counts exp(1 - (d / shortest)^6), as in R. Hoppe's effective
    coordination number (Z. Kristallogr. 150, 23 (1979)), so that no shell needs a boundary.
    An atom without a neighbour has the cutoff as its shortest distance, and zeros.
    """
    shortest = np.full(n_atoms, cutoff)
    np.minimum.at(shortest, pairs.first, pairs.distance)
    np.minimum.at(shortest, pairs.second, pairs.distance)

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros(n_atoms)
        for atom in (pairs.first, pairs.second):
            nearness = np.exp(1 - (pairs.distance / shortest[atom]) ** 6)
            total += np.bincount(atom, nearness * values, n_atoms)
        return total

    coordination, difference, product = (sums(weight) for weight in pairs.weights)
    neighbors = np.maximum(coordination, 1e-300)
    means = (sums(pairs.distance) / neighbors, difference / neighbors, product / neighbors)
    return np.stack([shortest, coordination, *means], axis=1)


def _statistics(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (B, 4 · F), the `STATISTICS` over each crystal's atoms of each of `values` (N, F)."""
    starts, counts = offsets[:-1], np.diff(offsets)
    mean = np.add.reduceat(values, starts) / counts[:, None]
    squares = (values - np.repeat(mean, counts, axis=0)) ** 2
    deviation = np.sqrt(np.add.reduceat(squares, starts) / counts[:, None])
    least, most = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return np.stack([mean, deviation, least, most], axis=2).reshape(len(counts), -1)
