"""How the handing out of work scales: slices that wait, on 8 to 64 logical CPUs of this machine.

    python -m benchmarks.scaling.run --seconds 1

A logical CPU is a worker process of Ray's. The compute of a slice is replaced by a wait of as long as a real
one takes, so that the real cores are left to Ray, and what falls short of N workers' pace is overhead: of
the driver, of the scheduler, of the commits. Two things of it belong to this machine and are told apart: its cores
start all workers, where each node of a cluster starts its own, and they carry all workers' commits and Ray's
processes beside the driver.

weak     as many slices a CPU on 8, 16, 32 and 64 CPUs
strong   the same slices on 8, 16, 32 and 64 CPUs
rows     10^5 to 3·10^6 rows on 32 CPUs
short    slices of a quarter of the time on 64 CPUs: where the driver's pace ends
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common.arguments import RESULTS
from benchmarks.scaling.case import FIGURES
from emrl_ray.io.atomic import write_json
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.io.runtime import hardware_info, package_versions

CPUS = (8, 16, 32, 64)
A_CPU = 40
"""Slices a CPU of the weak series."""
ALL = 1280
"""Slices of the strong series."""
ROWS = 8192
"""Crystals a slice."""
SERIES = ("weak", "strong", "rows", "short")
LIBRARIES = (100_000, 300_000, 1_000_000, 3_000_000)


def main() -> None:
    """Measure each case in a process of its own, and write the figures as they come."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="that a slice takes")
    parser.add_argument("--series", nargs="+", default=SERIES, choices=SERIES)
    words = parser.parse_args()
    seconds, file = words.seconds, resolve(RESULTS / "scaling.json")
    found: dict[str, Any] = read_json(file) if file.exists() else {}
    found |= {"machine": hardware_info(), "versions": package_versions(), "rows_a_slice": ROWS}
    cases = {
        "weak": [(cpus, A_CPU * cpus, seconds) for cpus in CPUS],
        "rows": [(32, -(-rows // ROWS), seconds) for rows in LIBRARIES],
        "strong": [(cpus, ALL, seconds) for cpus in CPUS],
        "short": [(64, A_CPU * 64, seconds / 4)],
    }
    for series in words.series:
        found[series] = []
        for case in cases[series]:
            found[series].append(measured(*case))
            print(series, found[series][-1], flush=True)
            write_json(found, file)


def measured(cpus: int, slices: int, seconds: float) -> dict[str, Any]:
    """Return the figures of one case."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.scaling.case"),
                *(str(cpus), str(slices), str(seconds), str(ROWS), folder),
            ],
            env={**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": _paths()},
            check=True,
        )
        return json.loads(Path(folder, FIGURES).read_text())


def _paths() -> str:
    """Return the path on which workers find the benchmarks."""
    return os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])


if __name__ == "__main__":
    main()
