"""Search margin, learning rate and width on HOIP, kill the driver once, and train what was found.

    python -m benchmarks.methods.tune_hoip --work runs/tune

The search is killed (SIGKILL) when some trials are over and called again; what was recorded before is
compared with what is there at the end. Then the best configuration and the preset are trained on three
random splits. Seed 0 is the search's own: no trial saw its test rows. Those of seeds 1 and 2 are other
draws of the same table, so trials saw most of them; they tell how a split matters, not how honest the
choice is. What is done already is not done again, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common.arguments import RESULTS
from emrl_ray.experiments.tuning.trial_store import TrialState, TrialStore
from emrl_ray.io.atomic import write_json
from emrl_ray.io.paths import read_json, resolve
from emrl_ray.io.runtime import hardware_info
from emrl_ray.model import read_card

TARGET = "band_gap"
SEEDS = (0, 1, 2)
RESULT = RESULTS / "tune" / "hoip.json"


def main() -> None:
    """Do what is missing, and write the figures after each step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", required=True, help="folder for the search and the models")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--kill-after", type=int, default=6, help="trials that are over by then")
    words = parser.parse_args()
    crystals = f"{os.environ['EMRL_RAY_DATA']}/data/hoip.parquet"
    work = Path(words.work).absolute()
    found: dict[str, Any] = read_json(resolve(RESULT)) if RESULT.exists() else {}
    search = [
        *("tune", crystals, "--target", TARGET, "--out", f"{work}/search", "--preset", "HOIP"),
        *("--search", "margin", "learning_rate", "width", "--trials", str(words.trials)),
        *("--epochs", str(words.epochs), "--grace", "12", "--reduction", "3"),
        *("--validate-every", "4", "--seed", "0"),
    ]
    if "killed" not in found:
        found["killed"] = killed(search, work, words.kill_after)
        write(found)
    if "search" not in found:
        found["search"] = resumed(search, work, found["killed"])
        write(found)
    best = ["train", "--config", f"{work}/search/best.yaml"]
    preset = [
        *("train", crystals, "--target", TARGET, "--preset", "HOIP", "--test", "0.2"),
        *("--epochs", str(words.epochs)),
    ]
    for name, command in (("best", best), ("preset", preset)):
        for seed in SEEDS:
            scores = found.setdefault(name, {})
            if str(seed) not in scores:
                scores[str(seed)] = trained(command, f"{work}/{name}-{seed}", seed)
                write(found)
    found["test_mae"] = {name: summary(found[name]) for name in ("best", "preset")}
    write(found)
    print(found["test_mae"])


def killed(command: list[str], work: Path, count: int) -> dict[str, Any]:
    """Run the search until `count` trials are over, kill its driver, and return what was recorded."""
    began = time.monotonic()
    with subprocess.Popen(emrl_ray(command), start_new_session=True) as driver:
        while len(recorded(work).over) < count:
            if driver.poll() is not None:
                raise SystemExit(f"the search ended by itself, status {driver.returncode}")
            time.sleep(1)
        driver.kill()
    records = recorded(work)
    return {
        "seconds": round(time.monotonic() - began, 1),
        "over": {trial.name: digest(work, trial.name) for trial in records.over},
        "running": {trial.name: trial.epoch for trial in records.of_state(TrialState.RUNNING)},
    }


def resumed(command: list[str], work: Path, before: dict[str, Any]) -> dict[str, Any]:
    """Call the search again, and return how it ended and what became of the trials before the kill."""
    began = time.monotonic()
    subprocess.run(emrl_ray(command), check=True)
    records = recorded(work)
    manifest = read_json(resolve(work / "search" / "manifest.json"))
    same = [
        name for name, before_kill in before["over"].items() if digest(work, name) == before_kill
    ]
    return {
        "seconds": round(time.monotonic() - began, 1),
        "trials": manifest["trials"],
        "numbers_complete": sorted(records.trials) == list(range(len(records.trials))),
        "unchanged_since_the_kill": len(same),
        "over_at_the_kill": len(before["over"]),
        "running_at_the_kill": [
            {"trial": trial.number, "epoch": before["running"][trial.name]}
            | {"then": str(trial.state), "to": trial.epoch}
            for trial in records.over
            if trial.name in before["running"]
        ],
        "epochs_trained": sum(trial.epoch for trial in records.over),
        "epochs_without_stopping": len(records.over) * manifest["options"]["epochs"],
        "best": manifest["best"],
        "importances": manifest["importances"],
        "rows": manifest["rows"],
        "training_seconds": manifest["seconds"]["trials"],
        "table": [
            {"trial": trial.number, "state": str(trial.state), "epochs": trial.epoch}
            | {"validation_mae": trial.mae, **trial.values}
            for trial in records.over
        ],
        "machine": hardware_info(),
        "versions": manifest["versions"],
    }


def trained(command: list[str], out: str, seed: int) -> dict[str, Any]:
    """Train on the split of a seed; return the test errors of the heads."""
    began = time.monotonic()
    subprocess.run(emrl_ray([*command, "--seed", str(seed), "--out", out]), check=True)
    card = read_card(out)
    scores = {name: part["mae"] for name, part in card.metrics["test"].items() if "mae" in part}
    return {
        "test_mae": scores,
        "best_head": card.best_head,
        "seconds": round(time.monotonic() - began, 1),
        "width": card.width,
        "hyperparameters": card.hyperparameters,
    }


def summary(runs: dict[str, Any]) -> dict[str, Any]:
    """Return mean and sd over the seeds of each head, and of the head that calibration rows chose."""
    heads = {
        name: [run["test_mae"][name] for run in runs.values()] for name in runs["0"]["test_mae"]
    }
    heads["chosen"] = [run["test_mae"][run["best_head"]] for run in runs.values()]
    return {
        name: {"mean": round(statistics.mean(errors), 5), "sd": round(statistics.stdev(errors), 5)}
        | {"seeds": [round(error, 5) for error in errors]}
        for name, errors in heads.items()
    }


def emrl_ray(words: list[str]) -> list[str]:
    """Return the command of a verb."""
    return [sys.executable, "-m", "emrl_ray", *words]


def recorded(work: Path) -> TrialStore:
    """Return the trials of the search as they are on disk."""
    return TrialStore(str(work / "search" / "trials"))


def digest(work: Path, name: str) -> str:
    """Return a hash of the record of a trial."""
    record = (work / "search" / "trials" / f"{name}.json").read_bytes()
    return hashlib.sha256(record).hexdigest()


def write(found: dict[str, Any]) -> None:
    """Write the figures."""
    write_json(found, resolve(RESULT))


if __name__ == "__main__":
    main()
