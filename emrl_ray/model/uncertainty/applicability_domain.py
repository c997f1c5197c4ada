"""The domain of a model: what its training crystals were like, and how far from them is too far.

A learned embedding varies along few directions and hardly tells a crystal of foreign elements, so
the domain asks plain questions first: elements, pairs of elements that touch, their distances,
volume, size; then how far the features before the readout and the embedding are from the training
set's. What is a limit, not a list, is set by leaving each training crystal out in turn: the share
`feature_distance.SHARE` of them would be beyond it if they were new (the jackknife).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from emrl_ray.config.errors import UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.composition import elements_present
from emrl_ray.crystals.elements import SYMBOLS
from emrl_ray.crystals.geometry.closest_contacts import Contacts, elements_of
from emrl_ray.model.uncertainty.feature_distance import FeatureSpace, distances_apart, limit

SIZES = ("volume_per_atom", "shortest_distance", "atoms")
"""Numbers of a crystal with a range: Å³, Å, and how many."""
FEATURE_ARRAYS = ("mean", "unit", "axes", "references")
"""Fields of a `FeatureSpace` that are stored as arrays."""


class PairRanges(NamedTuple):
    """How near the K pairs of elements came in the training crystals."""

    pair: NDArray[np.int32]
    """(K,) codes as of `Contacts`, ascending."""
    low: NDArray[np.float64]
    """(K,) shortest contact, Å."""
    high: NDArray[np.float64]
    """(K,) longest, Å."""
    tolerance: float
    """A contact may lie beyond the range by this much of its logarithm."""

    @classmethod
    def of(cls, contacts: Contacts, min_occurrences: int) -> Self:
        """Return the ranges of pairs that at least `min_occurrences` crystals have."""
        order = np.lexsort((contacts.distance, contacts.pair))
        distance, crystal = contacts.distance[order], contacts.crystal[order]
        pair, start, count = np.unique(contacts.pair[order], return_index=True, return_counts=True)
        last = start + count - 1
        beyond = np.zeros(len(contacts.offsets) - 1)
        several = count > 1
        for end, inner in ((start, start + 1), (last, last - 1)):
            gap = np.abs(np.log(distance[end[several]] / distance[inner[several]]))
            np.maximum.at(beyond, crystal[end[several]], gap)
        seen = count >= min_occurrences
        return cls(pair[seen], distance[start[seen]], distance[last[seen]], limit(beyond))

    def beyond(self, contacts: Contacts) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which contacts (C,) are of a pair not seen, and which are out of its range."""
        if not len(self.pair):
            return np.ones(len(contacts.pair), bool), np.zeros(len(contacts.pair), bool)
        place = np.searchsorted(self.pair, contacts.pair).clip(max=len(self.pair) - 1)
        unseen = self.pair[place] != contacts.pair
        room = np.exp(self.tolerance)
        below = contacts.distance < self.low[place] / room
        return unseen, ~unseen & (below | (contacts.distance > self.high[place] * room))


class ApplicabilityDomain(NamedTuple):
    """What is asked of a crystal, fitted to the training set."""

    elements: NDArray[np.bool_]
    """(119,) whether an element, by its atomic number, was in `min_occurrences` crystals."""
    pairs: PairRanges
    ranges: NDArray[np.float64]
    """(3, 2) least and largest of each of `SIZES`."""
    features: FeatureSpace | None
    """The features before the readout, None of a network whose embedding they are."""
    embedding_limit: float
    """Largest distance to the nearest training crystal, in the embedding."""

    @classmethod
    def fit(
        cls,
        batch: CrystalBatch,
        contacts: Contacts,
        features: NDArray[np.floating] | None,
        embeddings: NDArray[np.floating],
        min_occurrences: int = 1,
    ) -> Self:
        """Return the domain of n training crystals.

        Args:
            batch: the crystals.
            contacts: theirs.
            features: (n, f) before the readout.
            embeddings: (n, m).
            min_occurrences: crystals that an element, or a pair, must be in to count as seen.
        """
        sizes = _sizes(batch, contacts)
        return cls(
            elements_present(batch).sum(axis=0) >= min_occurrences,
            PairRanges.of(contacts, min_occurrences),
            np.stack([sizes.min(axis=1), sizes.max(axis=1)], axis=1),
            None if features is None else FeatureSpace.fit(features),
            limit(distances_apart(embeddings)),
        )

    def reasons(
        self,
        batch: CrystalBatch,
        contacts: Contacts,
        features: NDArray[np.floating] | None,
        embedding_distances: NDArray[np.floating],
    ) -> list[str | None]:
        """Return for each of B crystals the first reason why it is outside, None if it is inside.

        In the order in which a crystal is asked, reasons begin with unseen_element, unseen_pair,
        pair_distance, one of `SIZES`, features or embedding, and say what: ``unseen_pair O-Pb``.
        Beside the crystals their contacts, `features` (B, f) and `embedding_distances` (B,) to the
        nearest training crystal are needed.
        """
        found: list[str | None] = [None] * batch.n_crystals

        def give(crystals: NDArray[np.integer], texts: list[str]) -> None:
            for crystal, text in zip(crystals.tolist(), texts, strict=True):
                if found[crystal] is None:
                    found[crystal] = text

        give(*self._elements(batch))
        give(*self._pairs(contacts))
        give(*self._sizes(batch, contacts))
        if self.features is not None and features is not None:
            far = np.flatnonzero(self.features.far(features))
            give(far, ["features"] * len(far))
        far = np.flatnonzero(embedding_distances > self.embedding_limit)
        give(far, ["embedding"] * len(far))
        return found

    def _elements(self, batch: CrystalBatch) -> tuple[NDArray[np.int64], list[str]]:
        """Return the crystals with an element that was not seen, and which."""
        atoms = np.flatnonzero(~self.elements[batch.atomic_numbers])
        crystals = np.searchsorted(batch.offsets, atoms, side="right") - 1
        crystals, first = np.unique(crystals, return_index=True)
        numbers = batch.atomic_numbers[atoms[first]].tolist()
        return crystals, [f"unseen_element {SYMBOLS[number - 1]}" for number in numbers]

    def _pairs(self, contacts: Contacts) -> tuple[NDArray[np.int64], list[str]]:
        """Return the crystals with a pair that was not seen, or not at that distance, and which."""
        unseen, outside = self.pairs.beyond(contacts)
        at = np.concatenate([np.flatnonzero(unseen), np.flatnonzero(outside)])
        texts = []
        for place in at.tolist():
            one, other = elements_of(int(contacts.pair[place]))
            names = f"{SYMBOLS[one - 1]}-{SYMBOLS[other - 1]}"
            known = f"pair_distance {names} {contacts.distance[place]:.2f}"
            texts.append(f"unseen_pair {names}" if unseen[place] else known)
        return contacts.crystal[at], texts

    def _sizes(
        self, batch: CrystalBatch, contacts: Contacts
    ) -> tuple[NDArray[np.int64], list[str]]:
        """Return the crystals whose sizes are out of range, and which of them."""
        sizes = _sizes(batch, contacts)
        outside = (sizes < self.ranges[:, :1]) | (sizes > self.ranges[:, 1:])
        which, crystals = np.nonzero(outside)
        texts = [
            f"{SIZES[size]} {sizes[size, crystal]:.4g}"
            for size, crystal in zip(which, crystals, strict=True)
        ]
        return crystals, texts

    def to_arrays(self) -> dict[str, NDArray]:
        """Return what `from_arrays` needs."""
        arrays = {"elements": self.elements, "ranges": self.ranges}
        arrays |= {f"pair_{name}": getattr(self.pairs, name) for name in ("pair", "low", "high")}
        limits = [self.pairs.tolerance, self.embedding_limit]
        if self.features is not None:
            limits.append(self.features.limit)
            arrays |= {f"feature_{name}": getattr(self.features, name) for name in FEATURE_ARRAYS}
        arrays["limits"] = np.array(limits)
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> Self:
        """Return the domain that `to_arrays` was called on.

        Raises KeyError if an array is missing, UserError, in one line, if one has another shape.
        """
        _check_shapes(arrays)
        tolerance, embedding_limit, *feature_limit = arrays["limits"].tolist()
        pairs = PairRanges(arrays["pair_pair"], arrays["pair_low"], arrays["pair_high"], tolerance)
        features = None
        if feature_limit:
            stored = {name: arrays[f"feature_{name}"] for name in FEATURE_ARRAYS}
            features = FeatureSpace(**stored, limit=feature_limit[0])
        return cls(arrays["elements"], pairs, arrays["ranges"], features, embedding_limit)


def _check_shapes(arrays: Mapping[str, NDArray]) -> None:
    """Raise UserError, in one line, for an array of another shape than `to_arrays` gives it."""
    pairs, limits = arrays["pair_pair"].size, max(arrays["limits"].size, 2)
    shapes: dict[str, tuple[int, ...]] = {
        "elements": (len(SYMBOLS) + 1,),
        "ranges": (len(SIZES), 2),
        **{f"pair_{name}": (pairs,) for name in ("pair", "low", "high")},
        "limits": (min(limits, 3),),
    }
    if limits > 2:
        features = arrays["feature_mean"].size
        axes = arrays["feature_axes"].size // max(features, 1)
        references = max(arrays["feature_references"].size // (axes + 1), 1)
        shapes["feature_mean"] = shapes["feature_unit"] = (features,)
        shapes["feature_axes"] = (features, axes)
        shapes["feature_references"] = (references, axes + 1)
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise UserError(f"{name} of the domain has the shape {arrays[name].shape}, not {shape}")


def _sizes(batch: CrystalBatch, contacts: Contacts) -> NDArray[np.float64]:
    """Return `SIZES` (3, B) of B crystals; the shortest distance is infinite where nothing touches."""
    shortest = np.full(batch.n_crystals, np.inf)
    np.minimum.at(shortest, contacts.crystal, contacts.distance)
    return np.stack([batch.volume_per_atom, shortest, batch.n_atoms.astype(float)])
