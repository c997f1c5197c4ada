"""Which crystals are the same, whatever their cell, origin and order of atoms.

A fingerprint that depends on none of these (composition, volume per atom, contacts) tells most
crystals apart; those few that it does not are compared by pymatgen's StructureMatcher.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.contacts import Contacts
from emrl_ray.crystals.elements import MAX_ATOMIC_NUMBER

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core.structure import Structure

VOLUME_TOLERANCE, CONTACT_TOLERANCE = 1e-3, 3e-3
"""Shares by which volumes per atom, and contacts, of the same crystal may differ."""
CELL_TOLERANCE, SITE_TOLERANCE, ANGLE_TOLERANCE = 5e-3, 5e-4, 0.2
"""StructureMatcher's: share of a length, share of the length free to an atom (root mean square), degrees.
About 0.001 Å a site: copies whose numbers were rounded to four decimals are the same, crystals relaxed
from two starts are not."""


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
        return cls(
            _compositions(batch), np.abs(np.linalg.det(batch.lattice)) / batch.n_atoms, contacts
        )

    def alike(self, crystal: int, other: Fingerprints, candidate: int) -> bool:
        """Return whether two crystals of one composition agree within the tolerances."""
        volumes = self.volumes[crystal], other.volumes[candidate]
        if abs(volumes[0] - volumes[1]) > VOLUME_TOLERANCE * max(volumes):
            return False
        mine, theirs = self._contacts(crystal), other._contacts(candidate)
        return np.array_equal(mine[0], theirs[0]) and np.allclose(
            mine[1], theirs[1], rtol=CONTACT_TOLERANCE, atol=0
        )

    def _contacts(self, crystal: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        own = slice(*self.contacts.offsets[crystal : crystal + 2])
        return self.contacts.pair[own], self.contacts.distance[own]


class Known:
    """Crystals among which others are looked up."""

    def __init__(self, batch: CrystalBatch, contacts: Contacts) -> None:
        """Take the known crystals, a valid batch with these contacts."""
        self.batch, self.fingerprints = batch, Fingerprints.of(batch, contacts)
        self.by_composition: dict[bytes, list[int]] = defaultdict(list)
        for crystal, composition in enumerate(self.fingerprints.compositions):
            self.by_composition[composition].append(crystal)

    def find(self, batch: CrystalBatch, contacts: Contacts) -> NDArray[np.int64]:
        """Return (B,) the first known crystal that each of a batch is, -1 where there is none."""
        fingerprints = Fingerprints.of(batch, contacts)
        found = np.full(batch.n_crystals, -1)
        for crystal, composition in enumerate(fingerprints.compositions):
            for candidate in self.by_composition.get(composition, ()):
                if fingerprints.alike(crystal, self.fingerprints, candidate) and same_structure(
                    batch, crystal, self.batch, candidate
                ):
                    found[crystal] = candidate
                    break
        return found


def group_duplicates(batch: CrystalBatch, contacts: Contacts) -> NDArray[np.int64]:
    """Return (B,) for each crystal of a valid batch the first one that is the same, itself if none is."""
    fingerprints = Fingerprints.of(batch, contacts)
    firsts: dict[bytes, list[int]] = defaultdict(list)
    group = np.arange(batch.n_crystals)
    for crystal, composition in enumerate(fingerprints.compositions):
        for candidate in firsts[composition]:
            if fingerprints.alike(crystal, fingerprints, candidate) and same_structure(
                batch, crystal, batch, candidate
            ):
                group[crystal] = candidate
                break
        else:
            firsts[composition].append(crystal)
    return group


def same_structure(batch: CrystalBatch, crystal: int, other: CrystalBatch, candidate: int) -> bool:
    """Return whether StructureMatcher takes two crystals for one, at the tolerances above."""
    return bool(_matcher().fit(_structure(batch, crystal), _structure(other, candidate)))


def _matcher() -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(
        ltol=CELL_TOLERANCE, stol=SITE_TOLERANCE, angle_tol=ANGLE_TOLERANCE, scale=False
    )


def _structure(batch: CrystalBatch, crystal: int) -> Structure:
    from pymatgen.core.structure import Structure

    own = slice(*batch.offsets[crystal : crystal + 2])
    return Structure(
        batch.lattice[crystal], batch.atomic_numbers[own].tolist(), batch.frac_coords[own]
    )


def _compositions(batch: CrystalBatch) -> list[bytes]:
    counts = np.zeros((batch.n_crystals, MAX_ATOMIC_NUMBER + 1), np.uint32)
    crystal = np.repeat(np.arange(batch.n_crystals), batch.n_atoms)
    np.add.at(counts, (crystal, batch.atomic_numbers), 1)
    reduced = counts // np.gcd.reduce(counts, axis=1, keepdims=True).clip(min=1)
    return [row.tobytes() for row in reduced]
