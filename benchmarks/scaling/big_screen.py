"""What Ray costs a large screen, what its driver needs, and what a resumed run does again.

    python -m benchmarks.scaling.big_screen --data DATA --model MODEL --out FOLDER

The candidates are written down as often as wanted, with a number behind their ids.

share    screens 1,105,340 rows, and computes the same slices in as many plain processes as there were
         workers, without Ray, by turns: what the screen takes longer, without the start of Ray, is Ray's share
memory   screens of 10^5 to 3·10^6 rows: the peak memory of the driver, of a process each
resume   screens one and three million rows, kills the driver once half the slices are there, and calls again
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.common.arguments import RESULTS, data_parser
from emrl_ray.commands.screen.command import ScreenWorker
from emrl_ray.commands.screen.plan import prepare
from emrl_ray.config import ScreenConfig
from emrl_ray.io.atomic import write_json
from emrl_ray.io.parquet import parquet_writer, read_table
from emrl_ray.io.paths import list_files, read_json, remove, resolve
from emrl_ray.io.runtime import available_cpus, hardware_info, package_versions
from emrl_ray.runs.partitions import RowPartition

LIBRARIES = (100_000, 300_000, 1_000_000, 3_000_000)
SHARE_ROWS, RESUMED = 1_105_340, (1_000_000, 3_000_000)
ROUNDS = 3
FILE_ROWS = 262_144
SERIES = ("share", "memory", "resume")


def main() -> None:
    """Measure, and write the figures as they come."""
    parser = data_parser(__doc__, model="folder of the model", out="folder for libraries and runs")
    parser.add_argument("--window", default="-2:-1.5", help="LOW:HIGH of the screens")
    parser.add_argument("--series", nargs="+", default=SERIES, choices=SERIES)
    words = parser.parse_args()
    file = resolve(RESULTS / "big_screen.json")
    found: dict[str, Any] = read_json(file) if file.exists() else {}
    found |= {"machine": hardware_info(), "versions": package_versions()}
    measures = {"share": share, "memory": memory, "resume": resume}
    screened(
        words.model,
        library(words.data, 10_000, Path(words.out)),
        words.window,
        Path(words.out) / "first",
    )
    for name in words.series:
        found[name] = measures[name](words.data, words.model, words.window, Path(words.out))
        print(name, json.dumps(found[name]), flush=True)
        write_json(found, file)


def library(data: str, rows: int, out: Path) -> str:
    """Return a table of the first `rows` of the candidates, written down again and again."""
    folder = out / f"library-{rows}"
    if (folder / "done").exists():
        return str(folder / "crystals")
    candidates = read_table(f"{data}/candidates.parquet")
    written = 0
    for copy in itertools.count():
        if written == rows:
            break
        part = candidates.slice(0, rows - written)
        ids = pc.binary_join_element_wise(part.column("id").cast(pa.string()), str(copy), "-")
        part = part.set_column(0, "id", ids)
        place = resolve(folder / "crystals" / f"copy-{copy:03d}.parquet")
        with parquet_writer(place, part.schema) as writer:
            for start in range(0, part.num_rows, 8192):
                writer.write_table(part.slice(start, 8192))
        written += part.num_rows
    (folder / "done").touch()
    return str(folder / "crystals")


def screened(model: str, crystals: str, window: str, run: Path) -> dict[str, Any]:
    """Screen in a process of its own; return its manifest, and its wall seconds as `wall`."""
    began = time.monotonic()
    subprocess.run(_command(model, crystals, window, run), env=_environment(), check=True)
    wall = time.monotonic() - began
    return {**read_json(resolve(run / "manifest.json")), "wall": round(wall, 2)}


def _command(model: str, crystals: str, window: str, run: Path) -> list[str | Path]:
    return [
        *(sys.executable, "-m", "emrl_ray", "screen", model, crystals),
        *("--target-window", window, "--out", run),
    ]


def _environment() -> dict[str, str]:
    return {**os.environ, "RAY_AUTH_MODE": "disabled"}


def share(data: str, model: str, window: str, out: Path) -> dict[str, Any]:
    """Return the seconds of a screen by stage, those of its slices without Ray, and Ray's share: medians of rounds."""
    crystals = library(data, SHARE_ROWS, out)
    rounds = []
    for _ in range(ROUNDS):
        remove(resolve(out / "share"))
        manifest = screened(model, crystals, window, out / "share")
        seconds = manifest["seconds"]
        plain = without_ray(model, crystals, window, out / "plain")
        rounds.append(
            {
                "wall": manifest["wall"],
                **seconds,
                "all_but_start": round(sum(seconds.values()) - seconds["start"], 2),
                "predict_without_ray": round(plain, 2),
            }
        )
        print(rounds[-1], flush=True)
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    of_ray = statistics.median(each["predict"] - each["predict_without_ray"] for each in rounds)
    return {
        "rows": manifest["counts"]["rows_in"],
        "slices": manifest["counts"]["slices"],
        "rounds": rounds,
        "median": median,
        "of_ray": round(of_ray, 2),
        "share_of_predict": round(of_ray / median["predict"], 4),
        "share_of_all_but_start": round(of_ray / median["all_but_start"], 4),
    }


def without_ray(model: str, crystals: str, window: str, run: Path) -> float:
    """Return the seconds in which plain processes, which load the model once, compute the slices of a screen."""
    remove(resolve(run))
    config = ScreenConfig(model=model, crystals=crystals, target_window=window, out=str(run))
    plan, cpus = prepare(config), available_cpus()
    context = multiprocessing.get_context("spawn")
    began = time.monotonic()
    arguments = (config, plan.objectives, plan.filters, plan.run.output)
    workers = [
        context.Process(target=compute, args=(arguments, plan.partitions[first::cpus]))
        for first in range(cpus)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return time.monotonic() - began


def compute(arguments: tuple[Any, ...], partitions: Sequence[RowPartition]) -> None:
    """Compute slices with a worker that is made as Ray's are."""
    worker = ScreenWorker(*arguments)
    for partition in partitions:
        worker(partition)


def memory(data: str, model: str, window: str, out: Path) -> list[dict[str, Any]]:
    """Return the peak memory of the driver for libraries of several sizes."""
    found = []
    for rows in LIBRARIES:
        run = out / f"memory-{rows}"
        remove(resolve(run))
        manifest = screened(model, library(data, rows, out), window, run)
        found.append(
            {
                "rows": manifest["counts"]["rows_in"],
                "driver_mib": manifest["peak_memory_bytes"]["driver"] >> 20,
                "largest_worker_mib": manifest["peak_memory_bytes"]["largest_worker"] >> 20,
                "wall": manifest["wall"],
                "seconds": manifest["seconds"],
            }
        )
        print(found[-1], flush=True)
        remove(resolve(run))
    return found


def resume(data: str, model: str, window: str, out: Path) -> list[dict[str, Any]]:
    """Return what `resumed` does for libraries of several sizes."""
    return [resumed(library(data, rows, out), model, window, out) for rows in RESUMED]


def resumed(crystals: str, model: str, window: str, out: Path) -> dict[str, Any]:
    """Return the seconds of a whole run, and of the rest of one that was killed half-way."""
    whole, killed = out / "whole", out / "killed"
    for run in (whole, killed):
        remove(resolve(run))
    manifest = screened(model, crystals, window, whole)
    slices = manifest["counts"]["slices"]
    _kill_half_way(_command(model, crystals, window, killed), killed, slices // 2)
    there = len(list_files(resolve(killed / "predictions"), ".parquet"))
    again = screened(model, crystals, window, killed)
    same = all(
        (whole / name).read_bytes() == (killed / name).read_bytes()
        for name in sorted(str(file.relative_to(whole)) for file in whole.glob("*/*.parquet"))
    )
    return {
        "rows": manifest["counts"]["rows_in"],
        "slices": slices,
        "slices_there": there,
        "whole": manifest["wall"],
        "rest": again["wall"],
        "whole_predict": manifest["seconds"]["predict"],
        "rest_predict": again["seconds"]["predict"],
        "ratio": round(again["wall"] / manifest["wall"], 3),
        "same_files": same,
    }


def _kill_half_way(command: list[str | Path], run: Path, slices: int) -> None:
    driver = subprocess.Popen(command, env=_environment(), start_new_session=True)
    while len(list_files(resolve(run / "predictions"), ".parquet")) < slices:
        assert driver.poll() is None, "the driver ended by itself"
        time.sleep(0.05)
    started = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait()
    for process in started:  # some of a Ray without driver stay for half a minute, and hold ports
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(started)


if __name__ == "__main__":
    main()
