"""Train on several random splits and write each split's figures as JSON as soon as it is there.

    python -m benchmarks.methods.train_splits benchmarks/configs/hoip.yaml hoip.parquet \
        --name hoip --seeds 0 1 2

A split that has its file already is left out, so an interrupted run goes on.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.common.arguments import RESULTS, read_arguments
from emrl_ray.commands.train import train
from emrl_ray.config import TrainConfig
from emrl_ray.io.atomic import write_json
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.io.runtime import hardware_info


def main() -> None:
    """Run the splits that have no result yet."""
    words, options = read_arguments(__doc__)
    for seed in words.seeds:
        result = RESULTS / words.name / f"random-{seed}.json"
        if result.exists():
            continue
        began = time.perf_counter()
        model = f"{words.models}/{words.name}-{seed}"
        card = train(TrainConfig(crystals=words.crystals, out=model, seed=seed, **options)).card
        curve = read_json(resolve(model) / "learning_curve.json")
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
            "machine": hardware_info(),
            "versions": card.versions,
            "learning_curve": [round(epoch["loss"], 5) for epoch in curve],
        }
        write_json(content, resolve(result))


if __name__ == "__main__":
    main()
