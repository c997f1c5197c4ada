"""Train on several random splits and write each split's figures as JSON as soon as it is there.

    python benchmarks/train_splits.py benchmarks/configs/hoip.yaml hoip.parquet \
        --name hoip --seeds 0 1 2

A split that has its file already is left out, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import yaml

from emrl_ray.config import TrainConfig
from emrl_ray.crystals.storage import locate, read_json, write_json
from emrl_ray.machine import description
from emrl_ray.pipelines.train import train

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the splits that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="YAML of training options")
    parser.add_argument("crystals", help="crystals table")
    parser.add_argument("--name", required=True, help="folder of the results")
    parser.add_argument("--models", default="runs", help="folder for the models")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words = parser.parse_args()
    options = yaml.safe_load(Path(words.config).read_text())
    for seed in words.seeds:
        result = RESULTS / words.name / f"random-{seed}.json"
        if result.exists():
            continue
        began = time.perf_counter()
        model = f"{words.models}/{words.name}-{seed}"
        card = train(TrainConfig(crystals=words.crystals, out=model, seed=seed, **options)).card
        curve = read_json(locate(model) / "learning_curve.json")
        content = {
            "dataset": Path(words.crystals).stem,
            "target": card.target,
            "unit": card.unit,
            "split": "random",
            "seed": seed,
            "rows": card.rows,
            "metrics": card.metrics,
            "heads": card.heads,
            "epochs": len(curve),
            "seconds": round(time.perf_counter() - began, 1),
            "hyperparameters": card.hyperparameters,
            "machine": description(),
            "versions": card.versions,
            "learning_curve": [round(epoch["loss"], 5) for epoch in curve],
        }
        write_json(content, locate(result))


if __name__ == "__main__":
    main()
