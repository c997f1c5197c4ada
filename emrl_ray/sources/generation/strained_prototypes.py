"""Candidate crystals: combinations of prototype and ions, each with a strain of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch, ragged_take
from emrl_ray.crystals.schema import Reject
from emrl_ray.sources.generation.base import GeneratedBatch
from emrl_ray.sources.generation.ion_assignments import IonAssignments

DRAWS = 6
"""Random numbers that one crystal takes: three strains, three for the directions of their axes."""


class Generated(NamedTuple):
    """B crystals and where they come from."""

    crystals: CrystalBatch
    charges: NDArray[np.int64]
    """(N,) formal charge of each atom, e."""
    combination: NDArray[np.int64]
    """(B,) index of each crystal's combination."""


@dataclass(frozen=True)
class StrainedPrototypes:
    """The candidates that `generate` makes from combinations of prototype and ions."""

    neutral: IonAssignments
    seed: int
    strain: float
    """Largest relative strain."""

    @property
    def combinations(self) -> int:
        """Prototypes with ions on their sites."""
        return len(self.neutral)

    @property
    def total(self) -> int | None:
        """Without strain, every combination once."""
        return None if self.strain else len(self.neutral)

    @property
    def parents_read(self) -> int:
        """None: nothing is read."""
        return 0

    @property
    def rejects(self) -> list[Reject]:
        """None: nothing is read."""
        return []

    def make(self, numbers: NDArray[np.int64]) -> GeneratedBatch:
        """Return the candidates of ascending `numbers` (B,), at least one."""
        start, stop = int(numbers[0]), int(numbers[-1]) + 1
        crystals, charges, chosen = generate(self.neutral, self.seed, self.strain, start, stop)
        if len(numbers) < stop - start:
            atoms, _ = ragged_take(crystals.offsets, numbers - start)
            crystals, charges = crystals.take(numbers - start), charges[atoms]
            chosen = chosen[numbers - start]
        names = np.array([prototype.name for prototype in self.neutral.prototypes])
        kinds = names[self.neutral.prototype[chosen]].tolist()
        formulas = self.neutral.formulas[chosen].tolist()
        return GeneratedBatch(
            crystals, charges, kinds, formulas, {"prototype": pa.array(kinds, pa.string())}
        )


def generate(
    combinations: IonAssignments, seed: int, strain: float, start: int, stop: int
) -> Generated:
    """Return the crystals `start:stop` of the library that `seed` determines.

    The library goes through all M combinations in random order, and then again in another. The
    lattice of each crystal is stretched or compressed by up to `strain` (relative) along three
    random orthogonal axes. A crystal depends on its number alone, not on where the range begins.
    """
    chosen = _order(len(combinations), seed, start, stop)
    source = np.random.PCG64(np.random.SeedSequence(seed)).advance(start * DRAWS)
    uniform = np.random.Generator(source).random((len(chosen), DRAWS))
    return build(combinations, chosen, _strain_tensors(uniform, strain))


def build(
    combinations: IonAssignments, chosen: NDArray[np.int64], strains: NDArray[np.float64]
) -> Generated:
    """Return one crystal for each index `chosen` (B,), deformed by its strain tensor (B, 3, 3)."""
    prototype = combinations.prototype[chosen]
    sizes = np.array([len(each.site_kinds) for each in combinations.prototypes])[prototype]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    lattice = np.empty((len(chosen), 3, 3))
    numbers = np.empty(offsets[-1], np.uint8)
    charges = np.empty(offsets[-1], np.int64)
    coords = np.empty((offsets[-1], 3))
    for index, each in enumerate(combinations.prototypes):
        rows = np.flatnonzero(prototype == index)
        picked = chosen[rows]
        atoms = offsets[rows, None] + np.arange(len(each.site_kinds))
        lattice[rows] = combinations.lattice_constant[picked, None, None] * each.cell
        numbers[atoms] = combinations.atomic_numbers[picked][:, each.site_kinds]
        charges[atoms] = combinations.charges[picked][:, each.site_kinds]
        coords[atoms] = each.frac_coords
    deformed = lattice @ (np.eye(3) + strains)
    return Generated(CrystalBatch(deformed, numbers, coords, offsets), charges, chosen)


def _order(size: int, seed: int, start: int, stop: int) -> NDArray[np.int64]:
    """Return elements `start:stop` of an endless row of random permutations of `size`."""
    rounds = range(start // size, -(-stop // size))
    permutations = [np.random.default_rng((seed, turn)).permutation(size) for turn in rounds]
    return np.concatenate(permutations)[start - rounds.start * size : stop - rounds.start * size]


def _strain_tensors(uniform: NDArray[np.float64], strain: float) -> NDArray[np.float64]:
    """Return symmetric tensors (B, 3, 3) from numbers (B, 6) in [0, 1).

    The principal strains are uniform in [-strain, strain]; the principal axes are uniform over all
    rotations (K. Shoemake, Uniform random rotations, Graphics Gems III, 1992).
    """
    principal = strain * (2 * uniform[:, :3] - 1)
    first, second = np.sqrt(1 - uniform[:, 3]), np.sqrt(uniform[:, 3])
    angle, other = 2 * np.pi * uniform[:, 4], 2 * np.pi * uniform[:, 5]
    x, y, z, w = (
        first * np.sin(angle),
        first * np.cos(angle),
        second * np.sin(other),
        second * np.cos(other),
    )
    rotation = np.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        ],
        axis=1,
    ).reshape(-1, 3, 3)
    return np.einsum("bik,bk,bjk->bij", rotation, principal, rotation)
