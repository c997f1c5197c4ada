"""The crystals that the benchmarks run on: whole or drawn with a seed, as Parquet and as CIFs."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.features.pairs import find_pairs
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve

DATA_VARIABLE = "EMRL_RAY_DATA"
SEED = 0
CUTOFF = 5.0
"""Å, within which the pairs of a crystal are counted: its size."""

CONFIG = Path(__file__).parents[1] / "configs" / "hoip.yaml"
EPOCHS = 20
"""Of the model that is trained here: its accuracy does not matter."""


class Sample(NamedTuple):
    """B crystals, and a few of them that have the same mean size for what is slow."""

    name: str
    table: pa.Table
    """Their rows of a crystals table."""
    parquet: Path
    """The same as a file."""
    cifs: list[Path]
    """A CIF for each row."""
    few: NDArray[np.int64]
    """Rows of the few."""
    n_pairs: NDArray[np.int64]
    """(B,) ordered pairs within 5 Å."""

    @property
    def batch(self) -> CrystalBatch:
        """The crystals."""
        return CrystalBatch.from_arrow(self.table)

    @property
    def few_cifs(self) -> list[Path]:
        """The CIFs of the few."""
        return [self.cifs[row] for row in self.few]

    def describe(self) -> dict[str, Any]:
        """Return the sizes of all and of the few, for the results."""
        atoms = self.batch.n_atoms
        return {
            "crystals": len(atoms),
            "atoms": {"mean": round(float(atoms.mean()), 2), "max": int(atoms.max())},
            "pairs_within_5_A": {"mean": round(float(self.n_pairs.mean()), 1)},
            "few": {
                "crystals": len(self.few),
                "atoms": {"mean": round(float(atoms[self.few].mean()), 2)},
                "pairs_within_5_A": {"mean": round(float(self.n_pairs[self.few].mean()), 1)},
            },
        }


def data_folder() -> Path:
    """Return the folder of the data sets of development; ends the program if there is none."""
    root = os.environ.get(DATA_VARIABLE)
    if not root or not (Path(root).expanduser() / "data").is_dir():
        sys.exit(f"{DATA_VARIABLE}={root or ''}: must be a folder that holds data/ and reference/")
    return Path(root).expanduser().resolve()


def trained_model(scratch: Path) -> str:
    """Train a model of HOIP with an interval, for a few epochs, and return its folder."""
    model = str(scratch / "model")
    command = [sys.executable, "-m", "emrl_ray", "train", data_folder() / "data/hoip.parquet"]
    options = ["--config", CONFIG, "--epochs", str(EPOCHS), "--calibration", "0.1"]
    subprocess.run([*command, *options, "--out", model], check=True)
    return model


def hoip(scratch: Path, few: int) -> Sample:
    """Return all crystals of HOIP, with their own CIFs."""
    data = data_folder() / "data"
    with tarfile.open(data / "hoip_cifs.tar.gz") as archive:
        archive.extractall(scratch / "hoip", filter="data")
    found = {file.stem: file for file in (scratch / "hoip").rglob("*.cif")}
    table = pq.read_table(data / "hoip.parquet")
    cifs = [found[name] for name in table.column("id").to_pylist()]
    return _sample("hoip", table, data / "hoip.parquet", cifs, few)


def drawn(name: str, count: int, scratch: Path, few: int) -> Sample:
    """Return `count` random rows of a data set that have a pair, with CIFs written by pymatgen."""
    table = pq.read_table(data_folder() / "data" / f"{name}.parquet")
    rows = np.random.default_rng(SEED).choice(table.num_rows, count, replace=False)
    table = table.take(np.sort(rows))
    has_pairs = find_pairs(CrystalBatch.from_arrow(table), CUTOFF).n_pairs > 0
    table = table.filter(pa.array(has_pairs))
    parquet = scratch / f"{name}.parquet"
    write_parquet(table, resolve(parquet))
    return _sample(name, table, parquet, _write_cifs(table, scratch / name), few)


def cif_folder(cifs: Sequence[Path], folder: Path, files: int) -> int:
    """Make a folder of about `files` files, each CIF once or more under new names; return how many."""
    folder.mkdir()
    copies = max(1, round(files / len(cifs)))
    for copy in range(copies):
        for file in cifs:
            os.link(file, folder / f"{file.stem}-{copy}.cif")
    return copies * len(cifs)


def representative(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return `count` indices evenly spaced by size, with about the same mean size as all.

    One of each part of the sorted sizes, that which is nearest to the mean of its part.
    """
    parts = np.array_split(np.argsort(sizes, kind="stable"), count)
    return np.array([part[np.abs(sizes[part] - sizes[part].mean()).argmin()] for part in parts])


def _sample(name: str, table: pa.Table, parquet: Path, cifs: list[Path], few: int) -> Sample:
    n_pairs = find_pairs(CrystalBatch.from_arrow(table), CUTOFF).n_pairs
    return Sample(name, table, parquet, cifs, representative(n_pairs, few), n_pairs)


def _write_cifs(table: pa.Table, folder: Path) -> list[Path]:
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter

    folder.mkdir()
    batch = CrystalBatch.from_arrow(table)
    files = []
    for row, name in enumerate(table.column("id").to_pylist()):
        atoms = slice(batch.offsets[row], batch.offsets[row + 1])
        structure = Structure(
            batch.lattice[row], batch.atomic_numbers[atoms].tolist(), batch.frac_coords[atoms]
        )
        file = folder / f"{name}.cif"
        file.write_text(str(CifWriter(structure)))
        files.append(file)
    return files
