"""Compares our CGCNN with cgcnn2's in accuracy: the same rows, the same budget.

    EMRL_RAY_DATA=DATA python -m benchmarks.methods.peer_accuracy [--seeds 0 1 2]

Each is its own package's: features of elements, graph, network, first weights. The rows to train on
and to score, the batches, the optimiser, its schedule and the loss are the same. Each is trained on
one thread, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.common import peers
from benchmarks.common.arguments import RESULTS
from benchmarks.common.peer_training import Budget
from benchmarks.common.samples import Sample, data_folder, drawn
from emrl_ray.config.presets import PRESETS
from emrl_ray.experiments.benchmark.datasets import DATASETS, LabeledCrystals, read_labeled
from emrl_ray.experiments.benchmark.local_training import Device
from emrl_ray.experiments.benchmark.runs import TEST, BenchmarkRun, run_benchmark
from emrl_ray.io.runtime import hardware_info, package_versions
from emrl_ray.training.evaluation import score, split_rows

WORKER = "benchmarks.methods.peer_accuracy_worker"
METHOD = "CGCNN"
DIFFERENCES = (
    "neighbours: ours within the preset's cutoff, those as near as the twelfth weighted to add up to "
    "twelve, cgcnn2's twelve within 8 Å, in the order found where they are equally near",
    "Gaussians: 0.2 Å apart and wide in both, up to these distances",
    "features of elements: the same binned properties, ours from our table (93), cgcnn2's from its "
    "atom_init.json (92)",
    "structures: ours from the table, cgcnn2's from CIFs written from it",
    "first weights: each of its own random numbers",
)
"""What is not the same."""


def main() -> None:
    """Train both on the split of each seed, and write what they reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="MPS-FE", choices=list(DATASETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--crystals", type=int, help="so many random ones (default: all)")
    parser.add_argument("--out", type=Path, help="file (default: results/peer/DATASET.json)")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = compare(words.dataset, words.seeds, words.epochs, words.crystals, Path(scratch))
    out = words.out or RESULTS / "peer" / f"{words.dataset}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{out}: MAE {found['mae']}, ratio {found['ratio']}")


def compare(
    dataset: str, seeds: Sequence[int], epochs: int, count: int | None, scratch: Path
) -> dict[str, Any]:
    """Return the MAE of both on the split of each seed, and the means."""
    source = DATASETS[dataset]
    table = data_folder() / "data" / source.table
    sample = drawn(table.stem, count or pq.read_metadata(table).num_rows, scratch, few=1)
    source = source._replace(table=str(sample.parquet))
    cutoff = PRESETS[source.preset].cutoff
    crystals, _ = read_labeled(source, cutoff, cutoff)
    cells = [
        BenchmarkRun(
            dataset, source.preset, source.target, METHOD, (METHOD,), "random", seed, epochs
        )
        for seed in seeds
    ]
    packages = scratch / "cgcnn2"
    peers.install_cgcnn2(packages)
    say = Device(1, "cpu", lambda line: print(line, file=sys.stderr, flush=True))
    ours = [next(run_benchmark(cell, crystals, say)).content for cell in cells]
    theirs = list(_run_cgcnn2(cells, crystals, sample, packages))
    runs = [_run(cell, *both) for cell, *both in zip(cells, ours, theirs, strict=True)]
    peer = next(iter(metadata.distributions(path=[str(packages)])))
    return {
        "dataset": dataset,
        "target": source.target,
        "unit": crystals.unit,
        "split": "random",
        "seeds": list(seeds),
        "epochs": epochs,
        "budget": _budget(cells[0])._asdict(),
        "n_train": ours[0]["n_train"],
        "n_test": ours[0]["n_test"],
        **summary(runs),
        "runs": runs,
        "differences": DIFFERENCES,
        "machine": hardware_info(),
        "versions": {**package_versions(), "cgcnn2": peer.version},
    }


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean MAE of both over the runs, and ours as a share of the other."""
    means = {name: statistics.fmean(run["mae"][name] for run in runs) for name in runs[0]["mae"]}
    return {"mae": means, "ratio": round(means["emrl_ray"] / means["cgcnn2"], 4)}


def _run(cell: BenchmarkRun, ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    both = {"emrl_ray": ours, "cgcnn2": theirs}
    figures = ("mae", "train_seconds", "train_cpu_seconds")
    found = {figure: {name: one[figure] for name, one in both.items()} for figure in figures}
    return {"seed": cell.seed, **found, **summary([found])}


def _budget(cell: BenchmarkRun) -> Budget:
    config = cell.config()
    return Budget(*(getattr(config, name) for name in Budget._fields))


def _run_cgcnn2(
    cells: Sequence[BenchmarkRun], crystals: LabeledCrystals, sample: Sample, packages: Path
) -> Iterator[dict[str, Any]]:
    """Yield what cgcnn2 reaches on the split of each cell, trained in a process of its own."""
    ids, folder = crystals.ids.to_pylist(), sample.cifs[0].parent
    lines = [
        f"{name},{value!r}\n" for name, value in zip(ids, crystals.targets.tolist(), strict=True)
    ]
    (folder / "id_prop.csv").write_text("".join(lines))
    splits = [split_rows(len(ids), TEST, kind=cell.split, seed=cell.seed) for cell in cells]
    jobs = [
        _job(cell, crystals.targets, split.train, split.test)
        for cell, split in zip(cells, splits, strict=True)
    ]
    path = os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", WORKER, folder],
        env={**os.environ, "PYTHONPATH": path},
        input="".join(f"{json.dumps(job)}\n" for job in jobs),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line, split in zip(done.stdout.splitlines(), splits, strict=True):
        answer = json.loads(line)
        predictions = np.array(answer.pop("predictions"))
        yield {"mae": score(predictions, crystals.targets[split.test]).mae, **answer}


def _job(
    cell: BenchmarkRun,
    targets: NDArray[np.float64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
) -> dict[str, Any]:
    return {
        "budget": _budget(cell)._asdict(),
        "train": train.tolist(),
        "targets": targets[train].tolist(),
        "test": test.tolist(),
    }


if __name__ == "__main__":
    main()
