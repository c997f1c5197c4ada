"""How often 90 % intervals hold the target on test rows, and how wide they are.

    python benchmarks/trust_coverage.py --data DATA --models MODELS

Trains EMRL on HOIP, MPS-FE and MPS-BG, three seeds each (70 % training, 10 % calibration, 20 % test),
and compares the form that was chosen with the constant one on the test rows, which chose nothing.
A model that is there already is not trained again.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from arguments import RESULTS

from emrl_ray.config import TrainConfig
from emrl_ray.crystals.storage import locate, write_json
from emrl_ray.evaluation import within
from emrl_ray.machine import description
from emrl_ray.model import Model
from emrl_ray.pipelines.train import train
from emrl_ray.trust.calibration import Calibration, interval_score

DATASETS = {
    "HOIP": ("hoip", "band_gap", 200),
    "MPS-FE": ("mps", "formation_energy", 100),
    "MPS-BG": ("mps", "band_gap", 100),
}
"""File, target, epochs."""


def main() -> None:
    """Train what is missing and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of the data sets")
    parser.add_argument("--models", required=True, help="folder for the models")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words = parser.parse_args()
    found: dict[str, Any] = {"machine": description()}
    for dataset, (file, target, epochs) in DATASETS.items():
        for seed in words.seeds:
            out = f"{words.models}/{dataset}-{seed}"
            train(
                TrainConfig(
                    crystals=f"{words.data}/{file}.parquet",
                    target=target,
                    preset=dataset,
                    epochs=epochs,
                    test=0.2,
                    calibration=0.1,
                    seed=seed,
                    out=out,
                )
            )
            found[f"{dataset}-{seed}"] = measured(Model.load(out)) | {"epochs": epochs}
            print(dataset, seed, found[f"{dataset}-{seed}"], flush=True)
            write_json(found, locate(RESULTS / "trust" / "coverage.json"))


def measured(model: Model) -> dict[str, Any]:
    """Return coverage, mean width and mean interval score of both forms on the test rows."""
    held_out = model.held_out
    assert held_out is not None
    part = held_out.column("part").to_numpy()
    targets, predictions, lower, upper = (
        held_out.column(name).to_numpy() for name in ("target", "prediction", "lower", "upper")
    )
    test, kept = part == "test", part == "calibration"
    constant = Calibration(targets[kept] - predictions[kept])
    none = np.full(int(test.sum()), np.nan)
    forms = {
        "chosen": (lower[test], upper[test]),
        "constant": constant.interval(predictions[test], none),
    }
    assert model.calibration is not None
    scores = model.calibration.scores
    figures: dict[str, Any] = {
        "rows": {"calibration": int(kept.sum()), "test": int(test.sum())},
        "head": model.card.best_head,
        "slope": round(model.calibration.scale.slope, 4),
        "calibration_scores": scores._asdict() if scores else None,
    }
    for name, ends in forms.items():
        figures[name] = {
            "coverage": round(float(within(*ends, targets[test]).mean()), 4),
            "mean_width": round(float((ends[1] - ends[0]).mean()), 4),
            "interval_score": round(float(interval_score(*ends, targets[test]).mean()), 4),
        }
    return figures


if __name__ == "__main__":
    main()
