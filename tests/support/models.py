"""A real model and a real library, small enough to make in a second: for tests of what uses them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from emrl_ray.config import TrainConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.elements import reduced_formula
from emrl_ray.crystals.schema import crystals_table
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.features.element_properties import default_csv, element_features
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.model.fit import fit_model
from emrl_ray.model.labels import read_labels, split_labels

CUTOFF = 4.0
TARGET = "volume_per_atom"


def random_crystals(count: int, seed: int = 0, prefix: str = "c") -> pa.Table:
    """Return random crystals of 1 to 5 atoms of O, Fe, Cs and Pb with a target to learn."""
    random = np.random.default_rng(seed)
    n_atoms = random.integers(1, 6, count)
    lattice = np.eye(3) * random.uniform(2.8, 4.5, (count, 1, 1)) + random.normal(
        0, 0.1, (count, 3, 3)
    )
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(n_atoms)])
    numbers = random.choice(np.array([8, 26, 55, 82], np.uint8), offsets[-1])
    batch = CrystalBatch(lattice, numbers, random.random((offsets[-1], 3)), offsets)
    formulas = [reduced_formula(numbers[first:last]) for first, last in pairwise(offsets)]
    volume = np.abs(np.linalg.det(lattice)) / n_atoms
    field = pa.field(TARGET, pa.float64(), metadata={"unit": "angstrom^3"})
    return crystals_table(
        batch,
        [f"{prefix}{index:05d}" for index in range(count)],
        formulas,
        {TARGET: pa.array(volume)},
        {TARGET: field},
    )


def broken(crystals: pa.Table) -> pa.Table:
    """Give some rows faults: 10 a flat cell, 20 no elements, 30 non-finite coordinates."""
    rows = crystals.to_pylist()
    rows[10]["lattice"] = [0.0] * 9
    rows[20]["atomic_numbers"] = None
    rows[30]["frac_coords"][0] = float("nan")
    rows[40]["lattice"] = [100.0, 0, 0, 0, 100, 0, 0, 0, 100]
    return pa.Table.from_pylist(rows, schema=crystals.schema)


def make_model(folder: Path, *, calibration: float = 0.25, seed: int = 0, **options: Any) -> str:
    """Write a model with random network weights and fitted heads; return its folder.

    `options` are further ones of training.
    """
    import torch

    from emrl_ray.commands.featurize import graph_table
    from emrl_ray.networks.tgnn import TGNN
    from emrl_ray.training.trainer import TrainedNetwork

    crystals = random_crystals(80, seed)
    config = TrainConfig(
        crystals=str(folder.parent / f"{folder.name}-crystals.parquet"),
        target=TARGET,
        out=str(folder),
        heads=["linear", "boosted"],
        cutoff=CUTOFF,
        width=16,
        calibration=calibration,
        seed=seed,
        **options,
    )
    write_parquet(crystals, resolve(config.crystals))
    graphs, _ = graph_table(crystals, ValidationLimits(100, 100_000, CUTOFF), "")
    place = folder.parent / f"{folder.name}-graphs.parquet"
    write_parquet(graphs, resolve(place))
    torch.manual_seed(seed)
    network = TGNN(element_features(default_csv(), config.elements), CUTOFF, config.basis, 16)
    state = {name: value.numpy(force=True) for name, value in network.state_dict().items()}
    labels, _ = read_labels(str(place), TARGET, config.crystals)
    trained = TrainedNetwork(state, None, [])
    fit_model(config, trained, str(place), labels, split_labels(labels, config), "none").save(
        str(folder)
    )
    return str(folder)


def write_library(folder: Path, crystals: pa.Table, sizes: list[int]) -> str:
    """Write a crystals table as files of `sizes` rows and return its folder."""
    assert sum(sizes) == crystals.num_rows
    for index, first in enumerate(np.cumsum([0, *sizes[:-1]])):
        part = crystals.slice(int(first), sizes[index])
        write_parquet(part, resolve(folder) / f"part-{index}.parquet")
    return str(folder)
