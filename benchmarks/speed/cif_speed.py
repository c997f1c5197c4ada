"""CIFs a second and core, beside pymatgen's Structure.from_file, and whether both read the same.

    EMRL_RAY_DATA=... python -m benchmarks.speed.cif_speed

In turn on one core, over the 1,345 CIFs of HOIP:

- ingest: what the verb does with files up to the crystals table: listed, planned, read, parsed in a process
  of its own on the same core, validated
- reader: the parser function alone
- pymatgen: `Structure.from_file`

Times are CPU seconds of this process and its parsers, so that other work on the machine counts little; the
seconds that passed stand beside them. Ends with an error below 15 times pymatgen, or if an atom is
farther than 1e-4 Å from pymatgen's where pymatgen is told to leave coordinates as they are. Writes
benchmarks/results/cif_speed.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.common.samples import hoip
from benchmarks.common.timing import Ratio, Results, Timing, Work, alternate, run_pinned
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.sources.files.formats.registry import Format, read_document
from emrl_ray.sources.files.listing import list_sources
from emrl_ray.sources.files.loading import Loader
from emrl_ray.sources.files.parsed import ParsedCrystal
from emrl_ray.sources.files.parser_pool import ParserPool
from emrl_ray.sources.files.partitions import CsvColumns
from emrl_ray.sources.files.planning import plan_partitions

RESULTS = Path(__file__).parents[1] / "results" / "cif_speed.json"
LIMITS = ValidationLimits(1000, 400_000, 5.0, 0.5)
EQUAL = 1e-4
"""Å between two atoms that are the same."""
MIN_RATIO = 15.0
FILES_PER_PARTITION = 500
"""As `ingest` has it by default."""


class Clock:
    """CPU seconds of this process and those it started; the seconds that passed are kept by name."""

    def __init__(self) -> None:
        self.passed: dict[str, list[float]] = {}

    def __call__(self, name: str, work: Callable[[], object]) -> Callable[[], dict[str, float]]:
        """Return a work that tells its CPU seconds."""

        def run() -> dict[str, float]:
            began, cpu_began = time.perf_counter(), _cpu_seconds()
            work()
            self.passed.setdefault(name, []).append(time.perf_counter() - began)
            return {"CPU": _cpu_seconds() - cpu_began}

        return run


def _cpu_seconds() -> float:
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def ingest(folder: Path, pool: ParserPool, scratch: str) -> int:
    """Read a folder of CIFs as the verb does; return how many became rows."""
    plan = plan_partitions(list_sources([str(folder)]), scratch, FILES_PER_PARTITION)
    load = Loader(plan.columns, LIMITS, pool, CsvColumns())
    return sum(load(partition).crystals.num_rows for partition in plan.partitions)


def read_with_pymatgen(file: Path, **options: Any) -> Any:
    """Return pymatgen's structure of a file."""
    from pymatgen.core import Structure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Structure.from_file(file, **options)


def differences(cifs: Sequence[Path], **options: Any) -> dict[str, Any]:
    """Return how far the atoms of the reader are from pymatgen's, with `options` of its own."""
    farthest: list[NDArray[np.float64]] = []
    lattices, others = 0.0, []
    for file in cifs:
        (crystal,) = read_document(file.read_bytes(), Format.CIF)
        assert isinstance(crystal, ParsedCrystal)
        structure = read_with_pymatgen(file, **options)
        if [site.specie.Z for site in structure] != crystal.atomic_numbers.tolist():
            others.append(file.stem)
            continue
        lattices = max(lattices, float(np.abs(structure.lattice.matrix - crystal.lattice).max()))
        steps = structure.frac_coords - crystal.frac_coords
        steps -= np.rint(steps)
        farthest.append(np.linalg.norm(steps @ crystal.lattice, axis=1))
    atoms = np.concatenate(farthest)
    return {
        "crystals": len(cifs),
        "atoms": len(atoms),
        "other elements or order": others,
        "largest difference of a lattice component, Å": lattices,
        "farthest atom, Å": float(atoms.max()),
        "atoms farther than 1e-4 Å": int((atoms > EQUAL).sum()),
        "crystals with one": int(sum((each > EQUAL).any() for each in farthest)),
    }


def measure(out: str, rounds: int) -> None:
    """Time the three in turn; runs on one core."""
    results = Results(out)
    with (
        tempfile.TemporaryDirectory() as folder,
        ParserPool(1, 30.0, [Format.CIF]) as pool,
    ):
        cifs = hoip(Path(folder), 1).cifs
        texts = [file.read_bytes() for file in cifs]
        files = Path(folder) / "hoip"
        assert ingest(files, pool, folder) == len(cifs)
        clock = Clock()
        steps: dict[str, Callable[[], object]] = {
            "ingest": lambda: ingest(files, pool, folder),
            "reader": lambda: [read_document(text, Format.CIF) for text in texts],
            "pymatgen": lambda: [read_with_pymatgen(file) for file in cifs],
        }
        works = {name: Work(clock(name, step), len(cifs)) for name, step in steps.items()}
        timings = alternate(works, rounds)
        results.put_timings(["CPU"], {name: timings[name] for name in steps})
        passed = {
            name: Timing(
                [1e6 * seconds / len(cifs) for seconds in clock.passed[name][1:]], len(cifs)
            )
            for name in steps
        }
        results.put_timings(["passed"], passed)
        for name in ("ingest", "reader"):
            results.put_ratio(name, Ratio.of(timings["pymatgen"], timings[name]))
        results.put(["cifs_per_second_and_core"], round(1e6 / timings["ingest"].median))
        results.put(["as pymatgen reads by default"], differences(cifs))
        left = differences(cifs, frac_tolerance=0)
        results.put(["as pymatgen reads with frac_tolerance=0"], left)
    results.put(["complete"], True)
    if left["atoms farther than 1e-4 Å"] or left["other elements or order"]:
        sys.exit(f"not what pymatgen reads: {left}")
    if results.content["ratios"]["ingest"] < MIN_RATIO:
        sys.exit(f"{results.content['ratios']['ingest']} times pymatgen, at least {MIN_RATIO}")


def main() -> None:
    """Run the command line, on one core."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default=str(RESULTS), help="file of the results")
    parser.add_argument("--pinned", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.pinned:
        measure(words.out, words.rounds)
        return
    Results.begin(words.out, quick=words.rounds < 5, compared=["gemmi", "pymatgen"])
    options = ["--pinned", "--out", words.out, "--rounds", str(words.rounds)]
    run_pinned("benchmarks.speed.cif_speed", options, sorted(os.sched_getaffinity(0))[-1:])


if __name__ == "__main__":
    main()
