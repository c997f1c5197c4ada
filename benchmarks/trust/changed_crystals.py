"""The same crystals in other cells, and crystals made foreign."""

from __future__ import annotations

from itertools import product

import numpy as np

from emrl_ray.crystals.batch import CrystalBatch

CELLS = np.array(
    [
        [[2, 1, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 1, 0], [0, 1, 0], [0, 1, 1]],
        [[1, 0, 1], [0, 2, 0], [0, 0, 1]],
        [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
    ]
)
"""Rows: new lattice vectors in terms of the old; two of them double the cell."""
IMAGES = np.array(list(product(range(-3, 4), repeat=3)))


def in_other_cells(batch: CrystalBatch, seed: int = 0) -> CrystalBatch:
    """Return the crystals, each in one of `CELLS`, shifted, with its atoms in another order."""
    rng = np.random.default_rng(seed)
    parts = [
        _in_other_cell(batch.slice(row, row + 1), CELLS[row % len(CELLS)], rng)
        for row in range(batch.n_crystals)
    ]
    return CrystalBatch.concatenate(parts)


def _in_other_cell(
    crystal: CrystalBatch, cell: np.ndarray, rng: np.random.Generator
) -> CrystalBatch:
    coords = (crystal.frac_coords[None] + IMAGES[:, None]).reshape(-1, 3) @ np.linalg.inv(cell)
    numbers = np.tile(crystal.atomic_numbers, len(IMAGES))
    inside = ((coords >= -1e-9) & (coords < 1 - 1e-9)).all(axis=1)
    coords, numbers = coords[inside], numbers[inside]
    assert len(numbers) == round(abs(np.linalg.det(cell))) * len(crystal.atomic_numbers)
    order = rng.permutation(len(numbers))
    shifted = (coords[order] + rng.random(3)) % 1
    return CrystalBatch(cell @ crystal.lattice, numbers[order], shifted, np.array([0, len(order)]))


def displaced(batch: CrystalBatch, length: float, seed: int = 0) -> CrystalBatch:
    """Return the crystals with every atom moved by `length` (Å) in a random direction."""
    step = np.random.default_rng(seed).normal(size=batch.frac_coords.shape)
    step *= length / np.linalg.norm(step, axis=1, keepdims=True)
    cells = np.repeat(np.linalg.inv(batch.lattice), batch.n_atoms, axis=0)
    return batch._replace(frac_coords=batch.frac_coords + np.einsum("ni,nij->nj", step, cells))


def swapped(batch: CrystalBatch, old: tuple[int, ...], new: int) -> CrystalBatch:
    """Return the crystals with some elements replaced by one."""
    numbers = np.where(np.isin(batch.atomic_numbers, old), new, batch.atomic_numbers)
    return batch._replace(atomic_numbers=numbers.astype(np.uint8))
