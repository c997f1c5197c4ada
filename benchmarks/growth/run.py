"""How the cost grows: whole screens of 10^3 to 10^6 crystals, then what `stages.py` measures.

    EMRL_RAY_DATA=DATA python -m benchmarks.growth.run

The libraries are the candidates in random order, over again under new ids. Results go to
benchmarks/results/growth.json as they come; `--quick` stops at 10^5, and the results say so.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.common.arguments import RESULTS
from benchmarks.common.samples import SEED, data_folder, trained_model
from benchmarks.common.timing import Results, run_pinned
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import read_json, resolve

REPEATS = {1_000: 3, 10_000: 7, 100_000: 7, 1_000_000: 3}
"""Screens of a library by its rows, in turn: Ray's start varies by as much as the small ones take."""
MARGINS = ((10_000, 100_000), (100_000, 1_000_000))


def write_library(folder: Path, rows: int) -> None:
    """Write a library of `rows` candidates; row groups have at most 8,192 rows."""
    table = pq.read_table(data_folder() / "data" / "candidates.parquet")
    table = table.take(np.random.default_rng(SEED).permutation(table.num_rows))
    for copy, first in enumerate(range(0, rows, table.num_rows)):
        part = table.slice(0, rows - first)
        ids = pc.binary_join_element_wise(part.column("id"), pa.scalar(str(copy)), "-")
        place = part.column_names.index("id")
        part = part.set_column(place, part.schema.field("id"), ids)
        write_parquet(part, resolve(folder) / f"part-{copy:02d}.parquet")


def screen(model: str, library: Path, scratch: Path) -> dict[str, Any]:
    """Screen a library in a process of its own; return its seconds and memory."""
    run = scratch / "run"
    command = [sys.executable, "-m", "emrl_ray", "screen", model, str(library), "--minimize"]
    began = time.perf_counter()
    subprocess.run(
        [*command, "--out", str(run), "--overwrite"], stdout=subprocess.DEVNULL, check=True
    )
    wall = time.perf_counter() - began
    manifest = read_json(resolve(run) / "manifest.json")
    return {
        "wall_seconds": round(wall, 2),
        "stage_seconds": manifest["seconds"],
        "peak_memory_bytes": manifest["peak_memory_bytes"],
        "counts": {name: manifest["counts"][name] for name in ("rows_in", "predicted", "rejects")},
    }


def against_crystals(model: str, sizes: list[int], results: Results, scratch: Path) -> None:
    """Screen libraries of all sizes, each several times, and compare the cost of further crystals."""
    found: dict[int, list[dict[str, Any]]] = {rows: [] for rows in sizes}
    for rows in sizes:
        write_library(scratch / f"library-{rows}", rows)
    for turn in range(max(REPEATS.values())):
        for rows in [rows for rows in sizes if turn < REPEATS[rows]]:
            found[rows].append(screen(model, scratch / f"library-{rows}", scratch))
            results.put(["against_crystals", "screens", str(rows)], found[rows])
            print(f"screen of {rows:,}: {found[rows][-1]['wall_seconds']} s", flush=True)
        for name, value in slopes(found).items():
            results.put(["against_crystals", name], value)


def slopes(found: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the µs of each further crystal from one size to the next, and late over early.

    `found` are the screens by number of crystals, at least one each.
    """
    costs = {
        f"{few} to {many}": {
            clock: (seconds(found[many], clock) - seconds(found[few], clock)) / (many - few) * 1e6
            for clock in ("wall", "work")
        }
        for few, many in MARGINS
        if many in found
    }
    content: dict[str, Any] = {"us_per_further_crystal": costs}
    if len(costs) == len(MARGINS):
        early, late = costs.values()
        quotients = {clock: round(late[clock] / early[clock], 3) for clock in early}
        content["late_slope_over_early"] = quotients
    return content


def seconds(screens: list[dict[str, Any]], clock: str) -> float:
    """Return the median seconds of screens: by the `wall`, or at `work` between start and end."""
    if clock == "wall":
        return statistics.median(one["wall_seconds"] for one in screens)
    stages = ("predict", "rank", "write")
    return statistics.median(sum(one["stage_seconds"][s] for s in stages) for one in screens)


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="model folder (default: one is trained on HOIP)")
    parser.add_argument("--out", type=Path, default=RESULTS / "growth.json")
    parser.add_argument("--quick", action="store_true", help="at most 100,000 crystals")
    words = parser.parse_args()
    data_folder()
    Results.begin(words.out, words.quick)
    most = 100_000 if words.quick else 1_000_000
    with tempfile.TemporaryDirectory() as scratch:
        model = words.model or trained_model(Path(scratch))
        rounds = ["--rounds", "3" if words.quick else "5", "--references", str(most)]
        one_core = sorted(os.sched_getaffinity(0))[-1:]
        run_pinned("benchmarks.growth.stages", [str(words.out), model, *rounds], one_core)
        results = Results(words.out)
        sizes = [rows for rows in REPEATS if rows <= most]
        against_crystals(model, sizes, results, Path(scratch))
    results.put(["complete"], True)


if __name__ == "__main__":
    main()
