"""A small search of `tune`, and what is left of one that was cut short."""

from __future__ import annotations

from pathlib import Path

from emrl_ray.experiments.tuning.trial_store import TrialState, TrialStore

TRIALS = 3
EPOCHS = 6


def options(crystals: Path, out: Path, **changes) -> dict:
    """Return the options of a search."""
    return {
        "crystals": str(crystals),
        "target": "heft",
        "out": str(out),
        "search": ["margin"],
        "width": "8,16",
        "cutoff": "3.5,4",
        "trials": TRIALS,
        "epochs": EPOCHS,
        "grace": 3,
        "reduction": 2,
        "validate_every": 3,
        "min_distance": 0.0,
        **changes,
    }


def kept(out: Path) -> dict[str, bytes]:
    """Return the records of the trials that are over, by their names."""
    over = {trial.name for trial in TrialStore(str(out / "trials")).over}
    return {name: (out / "trials" / f"{name}.json").read_bytes() for name in sorted(over)}


def assert_none_was_lost(out: Path, before: dict[str, bytes]) -> None:
    """Check that all trials of a search are over, and those that were over before are as they were."""
    assert 0 < len(before) < TRIALS
    records = TrialStore(str(out / "trials"))
    assert sorted(records.trials) == list(range(TRIALS))
    assert len(records.over) == TRIALS
    assert not records.of_state(TrialState.RUNNING, TrialState.FAILED)
    assert records.of_state(TrialState.FINISHED)
    after = kept(out)
    assert {name: after[name] for name in before} == before
    for trial in records.over:
        epochs = [report["epoch"] for report in trial.reports]
        assert epochs == list(range(3, trial.epoch + 1, 3))
        assert trial.epoch == EPOCHS or trial.state == TrialState.STOPPED
    assert not (out / "_tuning").exists()
