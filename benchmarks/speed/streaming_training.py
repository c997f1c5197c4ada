"""What graphs in a file cost and save: memory and seconds of a training worker, in memory and from a file.

    EMRL_RAY_DATA=DATA python -m benchmarks.speed.streaming_training

Crystals are the first N, 2N and 4N of the Materials Project's with a formation energy (`mpl`), over
again where there are not enough. Each measurement is a process of its own that does what a worker
of `train` does: it reads its share of the graphs table, takes every batch of an epoch, and trains some steps,
which are timed. Its memory is the resident one that belongs to no file, beyond what it had before; the system drops pages
of files when it needs them. Results go to benchmarks/results/streaming_training.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.common.arguments import RESULTS
from benchmarks.common.samples import data_folder
from benchmarks.common.timing import Results
from emrl_ray.commands.featurize import graph_table
from emrl_ray.config import TrainConfig
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.distributed.training.shards import TrainingRows, read_shard
from emrl_ray.features.element_properties import default_csv
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import THREAD_VARIABLES, give_back_freed_memory, keep_freed_memory
from emrl_ray.model.labels import read_labels
from emrl_ray.networks.layers.collectives import SingleProcess
from emrl_ray.training.trainer import Trainer, make_network

TARGET = "formation_energy"
ROWS_PER_FILE = 5000
STEPS, WARM = 100, 20
"""Steps that are trained, and how many of them before the clock starts."""
MIB = 1 << 20
IN_MEMORY, IN_A_FILE = "in memory", "in a file"
MAX_BYTES = {IN_MEMORY: float("inf"), IN_A_FILE: 0.0}


def write_graphs(folder: Path, rows: int, target: str) -> None:
    """Write the graphs table of `rows` crystals."""
    crystals = pq.read_table(data_folder() / "data" / "mpl.parquet")
    limits = ValidationLimits(1000, 400_000, 5.0)
    for number, first in enumerate(range(0, rows, ROWS_PER_FILE)):
        taken = np.arange(first, min(first + ROWS_PER_FILE, rows)) % crystals.num_rows
        graphs, _ = graph_table(crystals.take(taken), limits, "mpl")
        write_parquet(graphs, resolve(folder) / f"part-{number:03d}.parquet")


class PrivateMemory:
    """Context: watches the resident memory of this process that belongs to no file."""

    def __enter__(self) -> PrivateMemory:
        self.began = self.most = self._now()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self.most = max(self.most, self._now())

    @staticmethod
    def _now() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(dict(line.split(":") for line in lines)["RssAnon"].split()[0]) * 1024


def measure(graphs: str, target: str, mode: str) -> dict[str, Any]:
    """Train as a worker does and return memory and seconds."""
    torch.set_num_threads(1)
    config = TrainConfig(crystals="", target=target, out="", preset="MPS-FE", epochs=1)
    network = make_network(config, default_csv(), 0)
    labels, _ = read_labels(graphs, target, "mpl")
    rows = TrainingRows.of(graphs, labels, np.arange(len(labels.rows)))
    with PrivateMemory() as memory:
        began = time.perf_counter()
        shard = read_shard(rows, 0, 1, config.cutoff or 0.0, network.select, MAX_BYTES[mode])
        read_seconds = time.perf_counter() - began
        give_back_freed_memory()
        keep_freed_memory()
        reading, memory.most = memory.most - memory.began, 0
        trainer = Trainer(network, shard, config, SingleProcess())
        for batch, _ in trainer._batches():
            shard.graphs.take(batch)
        steps = trainer._batches()
        losses = [trainer._step(*step) for step in itertools.islice(steps, WARM)]
        cpu, wall = time.process_time(), time.perf_counter()
        losses += [trainer._step(*step) for step in itertools.islice(steps, STEPS - WARM)]
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    epoch = len(trainer._plan(0)) / (STEPS - WARM)
    return {
        "rows": len(rows.rows),
        "graphs_mib": round(sum(array.nbytes for array in shard.graphs.arrays) / MIB, 1),
        "peak_private_mib": {
            "reading": round(reading / MIB, 1),
            "training": round((memory.most - memory.began) / MIB, 1),
        },
        "read_seconds": round(read_seconds, 2),
        "cpu_seconds_an_epoch": round(epoch * cpu, 3),
        "wall_seconds_an_epoch": round(epoch * wall, 3),
        "loss": float(torch.stack(losses).mean()),
    }


def measured_apart(graphs: Path, target: str, mode: str) -> dict[str, Any]:
    """Return what `measure` finds in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.streaming_training",
        "--measure",
        str(graphs),
        "--mode",
        mode,
    ]
    environment = {**os.environ, **dict.fromkeys((*THREAD_VARIABLES, "NUMBA_NUM_THREADS"), "1")}
    found = subprocess.run(
        [*command, "--target", target], stdout=subprocess.PIPE, env=environment, check=True
    )
    return json.loads(found.stdout.splitlines()[-1])


def compare(rows: int, rounds: int, target: str, results: Results, scratch: Path) -> None:
    """Measure both ways on N, 2N and 4N crystals, in turn, and keep what came of it."""
    for size in (rows, 2 * rows, 4 * rows):
        write_graphs(scratch / str(size), size, target)
        found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MAX_BYTES}
        for _ in range(rounds):
            for mode, each in found.items():
                each.append(measured_apart(scratch / str(size), target, mode))
                print(size, mode, each[-1], flush=True)
                results.put(["crystals", str(size), mode], each)
        ratios = [
            one["cpu_seconds_an_epoch"] / other["cpu_seconds_an_epoch"]
            for one, other in zip(found[IN_A_FILE], found[IN_MEMORY], strict=True)
        ]
        results.put(["crystals", str(size), "epoch_file_over_memory"], statistics.median(ratios))
        losses = {one["loss"] for each in found.values() for one in each}
        results.put(["crystals", str(size), "losses_equal"], len(losses) == 1)


def main() -> None:
    """Run the benchmark, or one measurement of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000, help="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", default=TARGET)
    parser.add_argument("--out", type=Path, default=RESULTS / "streaming_training.json")
    parser.add_argument("--measure", metavar="GRAPHS", help="measure once, on a graphs table")
    parser.add_argument("--mode", choices=list(MAX_BYTES))
    words = parser.parse_args()
    if words.measure:
        print(json.dumps(measure(words.measure, words.target, words.mode)))
        return
    results = Results.begin(words.out, quick=words.rows < 10_000)
    with tempfile.TemporaryDirectory() as scratch:
        compare(words.rows, words.rounds, words.target, results, Path(scratch))
    results.put(["complete"], True)


if __name__ == "__main__":
    main()
