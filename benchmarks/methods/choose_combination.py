"""Choose the network and the loss of EMRL+ on validation rows, a fifth of one split's training rows.

    python -m benchmarks.methods.choose_combination --dataset HOIP --epochs 100

The test rows of that split are never looked at. Each candidate is trained on the same rows; linear and
boosted heads are scored, and their mean ranks the candidates.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from benchmarks.common.arguments import RESULTS
from emrl_ray.config import UserError
from emrl_ray.config.presets import PRESETS
from emrl_ray.experiments.benchmark import methods
from emrl_ray.experiments.benchmark.datasets import LabeledCrystals, named_source, read_labeled
from emrl_ray.experiments.benchmark.local_training import Device
from emrl_ray.experiments.benchmark.methods import Method, Recipe, longest_cutoff
from emrl_ray.experiments.benchmark.runs import TEST, BenchmarkRun, run_benchmark
from emrl_ray.io.atomic import write_json
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.training.evaluation import split_rows

SPLIT_SEED = 0
"""The split whose training rows are used."""
VALIDATION_SEED = 100

OPTIONS = {"l2": 5e-6, "cutoff": 5.0}
CANDIDATES: dict[str, Recipe] = {
    f"{network}-{loss}": Recipe(network, loss, OPTIONS)
    for network in ("cgconv", "tgnn", "cgcnn")
    for loss in (
        *("emrl", "distance", "rank_n_contrast", "l1_distance", "l1_rank_n_contrast"),
        "l1",
    )
} | {
    f"cgconv-{loss}-4A": Recipe("cgconv", loss, {**OPTIONS, "cutoff": 4.0})
    for loss in ("rank_n_contrast", "l1_distance")
}
"""What is compared."""


def main() -> None:
    """Score every candidate that has no score yet, and print them, best first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--candidates", nargs="*", default=list(CANDIDATES))
    words = parser.parse_args()
    source = named_source(words.dataset, f"{os.environ['EMRL_RAY_DATA']}/data")
    preset = PRESETS[source.preset]
    crystals, _ = read_labeled(source, preset.cutoff, longest_cutoff(preset))
    training = crystals.take(split_rows(len(crystals.targets), TEST, seed=SPLIT_SEED).train)
    place = resolve(RESULTS / "choice" / f"{words.dataset}.json")
    found: dict[str, Any] = read_json(place) if place.is_file() else {}
    for name in words.candidates:
        if name not in CANDIDATES:
            raise UserError(f"--candidates {name}: choose from {', '.join(CANDIDATES)}")
        if found.get(name, {}).get("epochs") != words.epochs:
            found[name] = validated(name, words.dataset, training, words.epochs)
            write_json(found, place)
    for name, scores in sorted(found.items(), key=lambda entry: entry[1]["mean"]):
        print(f"{name:<26} {scores}")


def validated(name: str, dataset: str, training: LabeledCrystals, epochs: int) -> dict[str, float]:
    """Return the validation MAE of each head, and their mean."""
    methods.RECIPES[name] = CANDIDATES[name]
    heads = {f"{name}-{head}": Method(name, head) for head in ("linear", "boosted")}
    methods.METHODS.update(heads)
    source = named_source(dataset, "")
    cell = BenchmarkRun(
        dataset, source.preset, source.target, name, tuple(heads), "random", VALIDATION_SEED, epochs
    )
    place = Device(1, "cpu", lambda text: print(name, text, flush=True))
    records = [record.content for record in run_benchmark(cell, training, place)]
    scores = {
        record["method"].removeprefix(f"{name}-"): round(record["mae"], 5) for record in records
    }
    mean = sum(scores.values()) / len(scores)
    return {
        **scores,
        "mean": round(mean, 5),
        "epochs": epochs,
        "seconds": records[0]["train_seconds"],
    }


if __name__ == "__main__":
    main()
