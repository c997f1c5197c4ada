"""Demo: the whole journey on generated crystals with a property that can be computed exactly.

A training set gets its exact labels, a library does not; a model learns from the one and screens the
other. Then the exact labels of the library are revealed and compared with what the model said.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.commands.generate import generate
from emrl_ray.commands.generation_partitions import ENERGY
from emrl_ray.commands.screen.command import screen
from emrl_ray.commands.train import train
from emrl_ray.config import DemoConfig, GenerateConfig, ScreenConfig, TrainConfig
from emrl_ray.crystals.counts import duration
from emrl_ray.io.atomic import write_json
from emrl_ray.io.console import log
from emrl_ray.io.parquet import read_table
from emrl_ray.io.paths import resolve
from emrl_ray.training.evaluation import fraction_within, mae

KNOWN, CANDIDATES = 1_200, 6_000
"""Crystals to learn from and to screen."""
CALIBRATION = 0.25
"""Share of those to learn from that intervals are made of: of few the coverage is left to chance."""
EPOCHS, BATCH_SIZE, LEARNING_RATE = 60, 64, 2e-3
WINDOW = (-40.0, -35.0)
"""Energies that are looked for, eV/atom: in the middle of their range, and rare."""
TOP, SHOWN = 100, 10
"""Crystals on the shortlist, and how many of them are printed."""
LABELLED_ROWS, SCREENED_ROWS = 300, 1_500
"""Crystals that are labelled and screened together, about a second of work or less."""
MAX_ERROR = 0.5
"""Largest error that passes, in those of the floor."""
MIN_GAIN = 5.0
"""Least hit rate that passes, in those of a random draw."""


class DemoResult(NamedTuple):
    """What the model said against what is true."""

    mae: float
    """Mean absolute error over the library, eV/atom."""
    floor: float
    """The same of a guess: the mean of the training labels."""
    hit_rate: float
    """Share of the shortlist with an exact energy within the window."""
    random_rate: float
    """The same for a random draw: the share of the library."""
    coverage: float
    """Share of the library whose exact energy lies in its 90 % interval."""
    inside: float
    """Share of the library that is in the model's domain."""
    report: str
    """Path of the screen's page."""

    @property
    def passed(self) -> bool:
        """Whether error and hit rate are as far from floor and random draw as they must be."""
        gain = self.hit_rate >= MIN_GAIN * self.random_rate
        return self.mae <= MAX_ERROR * self.floor and gain


def demo(config: DemoConfig) -> DemoResult:
    """Run the journey, say at every stage where it is, and compare; called again it goes on."""
    began = time.monotonic()
    root = config.out.rstrip("/")
    known, candidates = _known(config, f"{root}/known"), _candidates(config, f"{root}/library")
    _say(1, f"generate {KNOWN:,} crystals to learn from, with their exact Ewald energies")
    generate(known)
    _say(2, f"generate {CANDIDATES:,} candidates without labels; no composition of 1 is among them")
    generate(candidates)
    _say(3, f"train on the {KNOWN:,}: {EPOCHS} epochs, then the heads")
    train(_training(config, known.out, f"{root}/model"))
    _say(4, f"screen the {CANDIDATES:,} for {WINDOW[0]:g} to {WINDOW[1]:g} eV/atom")
    run = screen(_screening(candidates.out, f"{root}/model", f"{root}/screen"))
    _say(5, "reveal the exact energies of the candidates")
    generate(replace(candidates, out=f"{root}/revealed", label="ewald", block_rows=LABELLED_ROWS))
    _say(6, "compare")
    result = _compare(root, run.report)
    write_json(result._asdict() | {"passed": result.passed}, resolve(root) / "demo.json")
    _summarize(result, time.monotonic() - began)
    return result


def _known(config: DemoConfig, out: str) -> GenerateConfig:
    return GenerateConfig(
        out=out,
        count=KNOWN,
        seed=config.seed,
        part="1/2",
        label="ewald",
        block_rows=LABELLED_ROWS,
    )


def _candidates(config: DemoConfig, out: str) -> GenerateConfig:
    """Draw from the other half of the compositions, with strains of their own."""
    return GenerateConfig(out=out, count=CANDIDATES, seed=config.seed + 1, part="2/2")


def _training(config: DemoConfig, crystals: str, out: str) -> TrainConfig:
    """Split by formula, so that the intervals too are those of unseen compositions."""
    return TrainConfig(
        crystals=crystals,
        target=ENERGY.name,
        out=out,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        calibration=CALIBRATION,
        split="formula",
        seed=config.seed,
    )


def _screening(crystals: str, model: str, out: str) -> ScreenConfig:
    return ScreenConfig(
        model=model,
        crystals=crystals,
        out=out,
        target_window=f"{WINDOW[0]:g}:{WINDOW[1]:g}",
        top=TOP,
        block_rows=SCREENED_ROWS,
    )


def _compare(root: str, report: str) -> DemoResult:
    """Print the head of the shortlist beside the truth, and return the figures of all of it."""
    known = read_table(f"{root}/known", [ENERGY.name]).column(0).to_numpy()
    exact = read_table(f"{root}/revealed", ["id", ENERGY.name])
    columns = ["id", "prediction", "lower", "upper", "in_domain"]
    predicted = read_table(f"{root}/screen/predictions", columns)
    shortlist = read_table(f"{root}/screen/shortlist.parquet")
    truth = _exact(shortlist, exact)
    hits = _in_window(truth)
    log(f"{'':>4}  {'candidate':<40} {'predicted':>9}  {'90 % interval':>17}  {'exact':>8}")
    for row in range(min(SHOWN, shortlist.num_rows)):
        entry = {name: shortlist.column(name)[row].as_py() for name in shortlist.column_names}
        interval = f"{entry['lower']:.2f} to {entry['upper']:.2f}"
        log(
            f"{entry['rank']:>4}  {entry['id']:<40} {entry['prediction']:>9.2f}  {interval:>17}  "
            f"{truth[row]:>8.2f}  {'hit' if hits[row] else 'miss'}"
        )
    energies = _exact(predicted, exact)
    ends = predicted.column("lower").to_numpy(), predicted.column("upper").to_numpy()
    return DemoResult(
        mae=mae(predicted.column("prediction").to_numpy(), energies),
        floor=mae(np.full(len(energies), known.mean()), energies),
        hit_rate=float(hits.mean()),
        random_rate=float(_in_window(energies).mean()),
        coverage=float(fraction_within(*ends, energies).mean()),
        inside=float(predicted.column("in_domain").to_numpy().mean()),
        report=report,
    )


def _exact(rows: pa.Table, exact: pa.Table) -> NDArray[np.float64]:
    """Return the exact energies of `rows`, by id."""
    energies = dict(zip(exact["id"].to_pylist(), exact[ENERGY.name].to_pylist(), strict=True))
    return np.array([energies[name] for name in rows["id"].to_pylist()])


def _in_window(energies: NDArray[np.float64]) -> NDArray[np.bool_]:
    low, high = WINDOW
    return (energies >= low) & (energies <= high)


def _say(step: int, what: str) -> None:
    log(f"demo {step}/6: {what}")


def _summarize(result: DemoResult, seconds: float) -> None:
    log(
        f"demo: MAE {result.mae:.2f} eV/atom against {result.floor:.2f} for the mean of the training "
        f"labels, {result.mae / result.floor:.2f} × the floor (passes: at most {MAX_ERROR} ×)"
    )
    log(
        f"demo: {result.hit_rate:.0%} of the shortlist are in the window against "
        f"{result.random_rate:.1%} of a random draw, "
        f"{result.hit_rate / result.random_rate:.1f} × (passes: at least {MIN_GAIN:g} ×)"
    )
    log(
        f"demo: {result.coverage:.0%} of the exact energies lie in their 90 % intervals, "
        f"{result.inside:.0%} of the candidates in the model's domain"
    )
    log("demo: on compositions of which none was in the training set")
    log(f"demo: {'passed' if result.passed else 'FAILED'} in {duration(seconds)}")
    log(f"demo: open {result.report}")
