"""Crystals that a library takes as parents of others."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import reduced_formula
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.sources.generation.prototypes import prototypes


def write_crystals(file, batch, names):
    """Write a crystals table; return its path."""
    formulas = [reduced_formula(batch.atomic_numbers[i:j]) for i, j in pairwise(batch.offsets)]
    write_parquet(crystals_table(batch, names, formulas), resolve(file))
    return str(file)


def write_parents(file):
    """Write half-Heuslers and perovskites: LiZnN twice, the second with Li and Zn in each other's place."""
    kinds = {each.name: each for each in prototypes()}
    crystals = [("half_heusler", (3, 30, 7)), ("half_heusler", (30, 3, 7))]
    crystals += [("perovskite", (38, 22, 8)), ("rock_salt", (11, 17))]
    batch = CrystalBatch.concatenate(
        [
            CrystalBatch(
                5.0 * kinds[name].cell[None],
                np.array(elements, np.uint8)[kinds[name].site_kinds],
                kinds[name].frac_coords,
                np.array([0, len(kinds[name].site_kinds)]),
            )
            for name, elements in crystals
        ]
    )
    return write_crystals(file, batch, list("abcd"))
