"""How often 90 % intervals hold the target on test rows, and how wide they are.

    python -m benchmarks.trust.coverage --data DATA --models MODELS

Trains EMRL on HOIP, MPS-FE and MPS-BG, three seeds each (70 % training, 10 % calibration, 20 % test),
and compares the form that was chosen with the constant one on the test rows, which chose nothing.
One calibration set of this size, and one test set, say little of the promised 90 %, so held-out rows
are also divided anew many times, and regressor, form and interval chosen anew each time.
A model that is there already is not trained again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.arguments import RESULTS, add_seeds, data_parser
from emrl_ray.commands.train import train
from emrl_ray.config import TrainConfig
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.io.atomic import write_json
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import hardware_info
from emrl_ray.model import Model
from emrl_ray.model.uncertainty import ConformalCalibration, residuals_of_best
from emrl_ray.model.uncertainty.conformal import interval_score
from emrl_ray.training.evaluation import fraction_within

DATASETS = {
    "HOIP": ("hoip", "band_gap", 200),
    "MPS-FE": ("mps", "formation_energy", 100),
    "MPS-BG": ("mps", "band_gap", 100),
}
"""File, target, epochs."""
DIVISIONS = 200


def main() -> None:
    """Train what is missing and write the figures."""
    parser = data_parser(__doc__, models="folder for the models")
    add_seeds(parser)
    words = parser.parse_args()
    found: dict[str, Any] = {"machine": hardware_info()}
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
            model = Model.load(out)
            rows = HeldOut.of(model)
            found[f"{dataset}-{seed}"] = measured(model, rows) | {
                "divided_anew": divided_anew(rows, model.card.rows["calibration"], seed),
                "epochs": epochs,
            }
            print(dataset, seed, found[f"{dataset}-{seed}"], flush=True)
            write_json(found, resolve(RESULTS / "trust" / "coverage.json"))


class HeldOut(NamedTuple):
    """What the heads of a model say of its n calibration and test rows."""

    targets: NDArray[np.float64]
    """(n,)"""
    predictions: NDArray[np.float64]
    """(heads, n)"""
    distances: NDArray[np.float64]
    """(n,) to the nearest training crystal."""

    @classmethod
    def of(cls, model: Model) -> HeldOut:
        """Return what a model says."""
        assert model.held_out is not None
        embeddings = model.embed(CrystalBatch.from_arrow(model.held_out))
        _, distances = model.nearest_known.query(embeddings)
        predictions = np.stack([head.predict(embeddings) for head in model.heads.values()])
        return cls(model.held_out.column("target").to_numpy(), predictions, distances)

    @property
    def residuals(self) -> NDArray[np.float64]:
        """What the predictions lack to the targets, (heads, n)."""
        return self.targets - self.predictions


def measured(model: Model, rows: HeldOut) -> dict[str, Any]:
    """Return coverage, mean width and mean interval score of both forms on the test rows."""
    assert model.held_out is not None
    assert model.calibration is not None
    part = model.held_out.column("part").to_numpy()
    predictions, lower, upper = (
        model.held_out.column(name).to_numpy() for name in ("prediction", "lower", "upper")
    )
    test, kept = part == "test", part == "calibration"
    constant = ConformalCalibration(residuals_of_best(rows.residuals[:, kept]))
    forms = {
        "chosen": (lower[test], upper[test]),
        "constant": constant.interval(predictions[test], rows.distances[test]),
    }
    scores = model.calibration.scores
    figures: dict[str, Any] = {
        "rows": {"calibration": int(kept.sum()), "test": int(test.sum())},
        "head": model.card.best_head,
        "slope": round(model.calibration.scale.slope, 4),
        "calibration_scores": scores._asdict() if scores else None,
    }
    targets = rows.targets[test]
    for name, ends in forms.items():
        figures[name] = {
            "coverage": round(float(fraction_within(*ends, targets).mean()), 4),
            "mean_width": round(float((ends[1] - ends[0]).mean()), 4),
            "interval_score": round(float(interval_score(*ends, targets).mean()), 4),
        }
    return figures


def divided_anew(rows: HeldOut, size: int, seed: int) -> dict[str, float]:
    """Return mean and standard deviation of the coverage where random `size` rows calibrate."""
    rng, coverage = np.random.default_rng(seed), []
    for _ in range(DIVISIONS):
        kept, test = np.split(rng.permutation(len(rows.targets)), [size])
        residuals = rows.residuals[:, kept]
        best = np.abs(residuals).mean(axis=1).argmin()
        calibration = ConformalCalibration(residuals_of_best(residuals), rows.distances[kept])
        ends = calibration.interval(rows.predictions[best, test], rows.distances[test])
        coverage.append(fraction_within(*ends, rows.targets[test]).mean())
    return {"mean": round(float(np.mean(coverage)), 4), "sd": round(float(np.std(coverage)), 4)}


if __name__ == "__main__":
    main()
