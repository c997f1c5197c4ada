"""How long a large library takes and how much memory, and whether it is what it should be.

    python -m benchmarks.speed.library
    EMRL_RAY_DATA=DATA python -m benchmarks.speed.library

The verb runs in a process of its own; its memory is that of the process and its children together. What
it wrote is read back: every row is validated, ids and structure keys are counted, and in a sample
StructureMatcher looks for repeats. With the data sets of development a library is made from the MPS set
as well. Results go to benchmarks/results/library.json; `--count` crystals are asked for.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.compute as pc
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from benchmarks.common.arguments import RESULTS
from benchmarks.common.timing import Results
from emrl_ray.config import CrystalLimits, IngestConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.matching.structure_hash import (
    StructureHashes,
    first_of_each,
    structure_hashes,
)
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.io.parquet import iter_tables, read_table
from emrl_ray.io.paths import read_json, resolve

COUNT = 1_000_000
SAMPLED_FORMULAS = 10
"""Formulas of which all crystals are compared by StructureMatcher."""
TIGHT = {"ltol": 1e-5, "stol": 1e-5, "angle_tol": 1e-3}
"""Its tolerances: strained copies are other crystals."""
SECONDS_BETWEEN_LOOKS = 0.1
FROM_MPS = ("--threshold", "0.0001")
"""Some 144,000 substitutions."""


def make(out: Path, options: Sequence[str]) -> dict[str, Any]:
    """Run the verb and return its seconds, the memory of all its processes, and its counts."""
    command = [sys.executable, "-m", "emrl_ray", "generate", "--out", str(out), *options]
    began, before = time.perf_counter(), os.times()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory(process))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    after = os.times()
    if process.returncode:
        raise SystemExit(f"library ended with status {process.returncode}")
    manifest = read_json(resolve(out) / "_manifest.json")
    return {
        "options": list(options),
        "wall_seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system,
            1,
        ),
        "peak_memory_bytes": peak,
        "counts": manifest["counts"],
        "combinations": manifest["combinations"],
    }


def memory(process: psutil.Popen) -> int:
    """Return the resident memory of a process and all below it, bytes."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


def read_back(table: Path) -> dict[str, Any]:
    """Return what is found when every row is read, validated and compared with the others."""
    limits = ValidationLimits.of(CrystalLimits(), IngestConfig.cutoff)
    rows, rejects, ids, files = 0, 0, set(), 0
    found: list[StructureHashes] = []
    for part in iter_tables(table):
        good, bad = validate(part, limits)
        keys = structure_hashes(CrystalBatch.from_arrow(good))
        found.append(keys._replace(crystal=keys.crystal + rows - rejects))
        rows, rejects, files = rows + part.num_rows, rejects + len(bad), files + 1
        ids.update(part.column("id").to_pylist())
    first = first_of_each(StructureHashes(*map(np.concatenate, zip(*found, strict=True))))
    return {
        "rows": rows,
        "files": files,
        "invalid": rejects,
        "repeated_ids": rows - len(ids),
        "repeated_keys": int((~first).sum()),
        "bytes": sum(file.stat().st_size for file in table.glob("*.parquet")),
        "sample": sample(table, limits),
    }


def sample(table: Path, limits: ValidationLimits) -> dict[str, int]:
    """Compare all valid crystals of some formulas with each other, at equal volumes, by StructureMatcher."""
    formulas = pc.unique(read_table(table, ["formula"]).column("formula"))
    places = np.linspace(0, len(formulas) - 1, SAMPLED_FORMULAS).astype(int)
    wanted = formulas.take(np.unique(places))
    parts = [
        CrystalBatch.from_arrow(part.filter(pc.is_in(part.column("formula"), wanted)))
        for part, _ in (validate(part, limits) for part in iter_tables(table))
    ]
    batch = CrystalBatch.concatenate(parts)
    atoms = [slice(*batch.offsets[row : row + 2]) for row in range(batch.n_crystals)]
    structures = [
        Structure(lattice, batch.atomic_numbers[own].tolist(), batch.frac_coords[own])
        for lattice, own in zip(batch.lattice, atoms, strict=True)
    ]
    groups = StructureMatcher(**TIGHT, scale=True).group_structures(structures)
    repeats = len(structures) - len(groups)
    return {"formulas": len(wanted), "crystals": len(structures), "repeats": repeats}


def main() -> None:
    """Make the libraries and read them back."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--out", type=Path, default=RESULTS / "library.json")
    words = parser.parse_args()
    results = Results.begin(words.out, words.count < COUNT)
    sources = {"prototypes": ["--count", str(words.count)]}
    if root := os.environ.get("EMRL_RAY_DATA"):
        parents = str(Path(root) / "data" / "mps.parquet")
        sources["substitution"] = ["--from", parents, *FROM_MPS, "--count", str(words.count)]
    for name, options in sources.items():
        with tempfile.TemporaryDirectory() as scratch:
            made = make(Path(scratch) / "library", options)
            made["options"] = [Path(word).name if "/" in word else word for word in options]
            results.put([name], made)
            results.put([name, "read_back"], read_back(Path(scratch) / "library"))
        print(f"{name}: {made['counts']['rows_out']:,} in {made['wall_seconds']} s", flush=True)
    results.put(["complete"], True)


if __name__ == "__main__":
    main()
