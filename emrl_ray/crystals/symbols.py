"""The elements of crystals, by their symbols."""

from __future__ import annotations

from itertools import pairwise

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import SYMBOLS


def symbols(batch: CrystalBatch) -> list[list[str]]:
    """Return the symbol of each atom of each crystal."""
    names = [SYMBOLS[number - 1] for number in batch.atomic_numbers.tolist()]
    return [names[first:last] for first, last in pairwise(batch.offsets.tolist())]
