"""Which crystals are the same, whatever their cell, origin and order of atoms.

A fingerprint that depends on none of these (composition, volume per atom, contacts) tells most
crystals apart; those few that it does not are compared by pymatgen's StructureMatcher.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch, ragged_take
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER
from emrl_ray.crystals.geometry.closest_contacts import CODES, REACH, Contacts

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core.structure import Structure

VOLUME_TOLERANCE, CONTACT_TOLERANCE = 1e-3, 3e-3
"""Shares by which volumes per atom, and contacts, of the same crystal may differ."""
CELL_TOLERANCE, SITE_TOLERANCE, ANGLE_TOLERANCE = 5e-3, 5e-4, 0.2
"""StructureMatcher's: share of a length, share of the length free to an atom (root mean square), degrees.
About 0.001 Å a site: copies whose numbers were rounded to four decimals are the same, crystals relaxed
from two starts are not."""
TRANSLATION_TOLERANCE = 0.01
"""Å by which atoms may miss a translation that makes the cell smaller: rounding to four decimals does,
by less, in cells of up to 100 Å."""
CELLS_KEPT = 256
"""Known crystals that are held in their smallest cells, about 1 kB an atom, for others that may be the same."""


class Fingerprints(NamedTuple):
    """Of B crystals, what depends on neither cell, origin nor order of atoms."""

    compositions: list[bytes]
    """Reduced formula of each, as a key."""
    volumes: NDArray[np.float64]
    """(B,) volume per atom, Å³."""
    contacts: Contacts
    """Least distances of each two elements."""

    @classmethod
    def of(cls, batch: CrystalBatch, contacts: Contacts) -> Fingerprints:
        """Return the fingerprints of a valid batch with these contacts."""
        return cls(_compositions(batch), batch.volume_per_atom, contacts)

    def distances(self, crystals: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (n, P) the least distance, Å, of each two elements of crystals of one composition.

        Two that are not in contact count as at the reach, so that a distance next to it may be a
        contact in one of two copies only.
        """
        counts = np.frombuffer(self.compositions[crystals[0]], np.uint32)
        elements = np.flatnonzero(counts)
        pairs = (elements[:, None] * CODES + elements)[np.triu_indices(len(elements))]
        own, offsets = ragged_take(self.contacts.offsets, crystals)
        found = np.full((len(crystals), len(pairs)), REACH)
        row = np.repeat(np.arange(len(crystals)), np.diff(offsets))
        found[row, np.searchsorted(pairs, self.contacts.pair[own])] = self.contacts.distance[own]
        return found


class StructureIndex:
    """Crystals among which others are looked up."""

    def __init__(self, batch: CrystalBatch, contacts: Contacts) -> None:
        """Take the known crystals, a valid batch with these contacts."""
        self.batch, self.fingerprints = batch, Fingerprints.of(batch, contacts)
        members: dict[bytes, list[int]] = defaultdict(list)
        for crystal in np.argsort(self.fingerprints.volumes, kind="stable").tolist():
            members[self.fingerprints.compositions[crystal]].append(crystal)
        self.by_volume = {key: np.array(crystals) for key, crystals in members.items()}
        self.smallest = lru_cache(CELLS_KEPT)(self._smallest)
        """Gives a known crystal, by its position, in its smallest cell."""

    def find(self, batch: CrystalBatch, contacts: Contacts) -> NDArray[np.int64]:
        """Return (B,) the first known crystal that each of a batch is, -1 where there is none."""
        fingerprints = Fingerprints.of(batch, contacts)
        found = np.full(batch.n_crystals, -1)
        for crystal in range(batch.n_crystals):
            alike = self._alike(fingerprints, crystal, self._near(fingerprints, crystal))
            found[crystal] = self._first_same(batch, crystal, alike)
        return found

    def group(self) -> NDArray[np.int64]:
        """Return (B,) for each known crystal the first one that is the same, itself if none is."""
        group = np.arange(self.batch.n_crystals)
        for crystal in range(len(group)):
            near = self._near(self.fingerprints, crystal)
            firsts = near[(near < crystal) & (group[near] == near)]
            alike = self._alike(self.fingerprints, crystal, firsts)
            same = self._first_same(self.batch, crystal, alike)
            group[crystal] = crystal if same < 0 else same
        return group

    def _near(self, fingerprints: Fingerprints, crystal: int) -> NDArray[np.int64]:
        """Return, ascending, the known crystals of a crystal's composition and volume per atom."""
        members = self.by_volume.get(fingerprints.compositions[crystal])
        if members is None:
            return np.zeros(0, np.int64)
        volume, share = fingerprints.volumes[crystal], 1 - VOLUME_TOLERANCE
        first, last = np.searchsorted(
            self.fingerprints.volumes[members], [volume * share, volume / share]
        )
        return np.sort(members[first:last])

    def _alike(
        self, fingerprints: Fingerprints, crystal: int, near: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return those of the known crystals `near`, of a crystal's composition, that have its contacts."""
        if not len(near):
            return near
        theirs = self.fingerprints.distances(near)
        own = fingerprints.distances(np.array([crystal]))
        return near[np.isclose(theirs, own, rtol=CONTACT_TOLERANCE, atol=0).all(axis=1)]

    def _first_same(self, batch: CrystalBatch, crystal: int, candidates: NDArray[np.int64]) -> int:
        """Return the first of some known crystals that a crystal is, -1 if it is none of them."""
        own = batch.slice(crystal, crystal + 1)
        smallest = cache(partial(_smallest_cell, own))
        for candidate in candidates.tolist():
            known = self.batch.slice(candidate, candidate + 1)
            if _equal(own, known) or _matcher().fit(smallest(), self.smallest(candidate)):
                return candidate
        return -1

    def _smallest(self, known: int) -> Structure:
        return _smallest_cell(self.batch.slice(known, known + 1))


def group_duplicates(batch: CrystalBatch, contacts: Contacts) -> NDArray[np.int64]:
    """Return (B,) for each crystal of a valid batch the first one that is the same, itself if none is."""
    return StructureIndex(batch, contacts).group()


def _equal(one: CrystalBatch, two: CrystalBatch) -> bool:
    """Return whether two batches of one crystal have the same numbers."""
    return (
        np.array_equal(one.lattice, two.lattice)
        and np.array_equal(one.atomic_numbers, two.atomic_numbers)
        and np.array_equal(one.frac_coords, two.frac_coords)
    )


def _matcher() -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(
        ltol=CELL_TOLERANCE,
        stol=SITE_TOLERANCE,
        angle_tol=ANGLE_TOLERANCE,
        primitive_cell=False,  # it would join atoms 0.25 Å apart, and lose superstructures
        scale=False,
    )


def _smallest_cell(crystal: CrystalBatch) -> Structure:
    """Return a batch of one crystal in its smallest cell."""
    from pymatgen.core.structure import Structure

    structure = Structure(crystal.lattice[0], crystal.atomic_numbers.tolist(), crystal.frac_coords)
    return structure.get_primitive_structure(TRANSLATION_TOLERANCE)


def _compositions(batch: CrystalBatch) -> list[bytes]:
    counts = np.zeros((batch.n_crystals, MAX_ATOMIC_NUMBER + 1), np.uint32)
    crystal = np.repeat(np.arange(batch.n_crystals), batch.n_atoms)
    np.add.at(counts, (crystal, batch.atomic_numbers), 1)
    reduced = counts // np.gcd.reduce(counts, axis=1, keepdims=True).clip(min=1)
    return [row.tobytes() for row in reduced]
