"""Tune: search the hyperparameters of `train` on validation rows, and write the best of them as YAML."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, replace
from importlib import metadata
from itertools import product
from typing import Any, NamedTuple

from emrl_ray.commands.train import check
from emrl_ray.commands.train_model import (
    check_names,
    check_resources,
    featurize_rows,
    write_rejects,
)
from emrl_ray.config import TuneConfig
from emrl_ray.crystals.counts import duration, summary_line
from emrl_ray.distributed.cluster import connect, offered
from emrl_ray.distributed.training.shards import TrainingRows
from emrl_ray.experiments.tuning.optuna_study import importances
from emrl_ray.experiments.tuning.results import Search, best_options, best_yaml, trials_table
from emrl_ray.experiments.tuning.splits import SearchRows, keep_rows_with_pairs, split_search
from emrl_ray.experiments.tuning.trial_store import TrialStore
from emrl_ray.io.atomic import write_bytes, write_csv, write_json
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import table_fingerprint
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import Location, absolute_uri, read_json, remove, resolve
from emrl_ray.io.runtime import hardware_info, need_extra, package_versions
from emrl_ray.model.labels import Labels, read_labels
from emrl_ray.reports.tuning.page import search_page
from emrl_ray.runs.run_directory import RunDirectory

WORK = "_tuning"
SEARCH_MANIFEST = "manifest.json"
BEST_FILE = "best.yaml"


class TuneResult(NamedTuple):
    """What tune left."""

    out: str
    """Path or URI of the folder."""
    best: dict[str, Any] | None
    """Options of `train`, without --out, of the best trial; None if all failed."""

    @property
    def passed(self) -> bool:
        """Whether a trial came to an end."""
        return self.best is not None


def tune(config: TuneConfig) -> TuneResult:
    """Search; called again with the same options it goes on, and every trial is run to its end once."""
    config = replace(config, out=absolute_uri(config.out), crystals=absolute_uri(config.crystals))
    _check(config)
    folder = resolve(config.out)
    directory = RunDirectory(
        "tune", folder, asdict(config), {"crystals": table_fingerprint(config.crystals)}
    )
    with directory.locked(config.overwrite):
        directory.claim(config.overwrite)
        if (folder / SEARCH_MANIFEST).exists():
            log(f"tune: {config.out} is finished, nothing to do (--overwrite starts anew)")
            return _announced(config.out, read_json(folder / SEARCH_MANIFEST))
        return _tune(config, directory)


def _tune(config: TuneConfig, directory: RunDirectory) -> TuneResult:
    """Search in a folder that is ours."""
    began = time.monotonic()
    folder, work, graphs = directory.folder, f"{config.out}/{WORK}", f"{config.out}/graphs"
    connect(config.address)
    check_resources(config.training(config.first_values(), out=config.out))
    _featurize(config, graphs)
    labels, rejects = read_labels(graphs, config.target, config.crystals)
    rows = split_search(labels, config)
    records = TrialStore(f"{config.out}/trials")
    _run(config, records, graphs, labels, rows, work)
    counts = write_rejects(folder, graphs, labels, rejects)
    remove(resolve(work))
    search = Search(
        config,
        tuple(records.over),
        importances(records.over, config.space, config.seed),
        labels.unit,
        rows.counts(),
    )
    manifest = _manifest(search, graphs, dict(directory.inputs), time.monotonic() - began)
    _write(search, graphs, folder, manifest)
    log(summary_line("tune", counts))
    return _announced(config.out, manifest)


def _check(config: TuneConfig) -> None:
    """Raise UserError or ImportError, in one line and before any work."""
    need_extra("matplotlib", "optuna", "sklearn", extra="tune")
    first = config.first_values()
    check(config.training(first, out=config.out))
    names = {
        name: domain.extremes
        for name, domain in config.domains.items()
        if name in ("network", "loss")
    }
    for values in product(*names.values()):
        check_names(config.training({**first, **dict(zip(names, values, strict=True))}, out=""))


def _featurize(config: TuneConfig, graphs: str) -> None:
    """Find the pairs for all trials at once, and leave out crystals that some trial would not see."""
    first = {**config.first_values(), "cutoff": config.longest_cutoff}
    featurize_rows(config.training(first, out=config.out), "ray", graphs)
    if config.shortest_cutoff < config.longest_cutoff:
        keep_rows_with_pairs(graphs, config.shortest_cutoff, config.crystals)


def _run(
    config: TuneConfig,
    records: TrialStore,
    graphs: str,
    labels: Labels,
    rows: SearchRows,
    work: str,
) -> None:
    over, begun = len(records.over), len(records.trials)
    earlier = f", {over} of them done and {begun - over} begun by an earlier call" if begun else ""
    at_once = _at_once(config)
    log(
        f"tune: {config.trials} trials{earlier}, {at_once} at a time; {len(rows.learned):,} rows to "
        f"learn from, {len(rows.validation):,} to validate, {len(rows.unseen.test):,} of --test and "
        f"{len(rows.unseen.calibration):,} of --calibration left alone",
    )
    if over == config.trials:
        return
    learned, held_out = (
        TrainingRows.of(graphs, labels, part) for part in (rows.learned, rows.validation)
    )
    from emrl_ray.distributed.tuning.trials import run_trials

    run_trials(config, learned, held_out, work, records, at_once)


def _at_once(config: TuneConfig) -> int:
    """Return how many trials run at a time: as many as there is room for, at least one.

    A trial that waits for room holds none, so with more of them a cluster that grows has a reason to.
    """
    if config.max_concurrent is not None:
        return min(config.max_concurrent, config.trials)
    there = offered()
    room = there.get("CPU", 0) // (config.workers * config.cpus_per_worker)
    if config.gpu:
        room = min(room, there.get("GPU", 0) // config.workers)
    return int(min(max(room, 1), config.trials))


def _manifest(
    search: Search, graphs: str, inputs: dict[str, str], seconds: float
) -> dict[str, Any]:
    best, config = search.best, search.config
    return {
        "options": asdict(config),
        "inputs": inputs,
        "seed": config.seed,
        "rows": search.rows,
        "trials": dict(Counter(str(trial.state) for trial in search.trials)),
        "best": None if best is None else {**best._asdict(), "reports": len(best.reports)},
        "best_options": None if best is None else best_options(config, best, graphs),
        "importances": search.importances,
        "first_failure": search.first_failure,
        "seconds": {
            "last_call": round(seconds, 1),
            "trials": round(sum(trial.seconds for trial in search.trials), 1),
        },
        "machine": hardware_info(),
        "versions": {**package_versions(), "optuna": metadata.version("optuna")},
    }


def _write(search: Search, graphs: str, folder: Location, manifest: dict[str, Any]) -> None:
    """Write the outcome, the manifest last."""
    table = trials_table(search.trials, search.config.space, search.unit)
    write_parquet(table, folder / "trials.parquet")
    write_csv(table, folder / "trials.csv")
    if search.best is not None:
        content = best_yaml(search.config, search.best, graphs, search.unit)
        write_bytes(content.encode(), folder / BEST_FILE)
    write_bytes(search_page(search, manifest).encode(), folder / "report.html")
    write_json(manifest, folder / SEARCH_MANIFEST)


def _announced(out: str, manifest: dict[str, Any]) -> TuneResult:
    """Say what a search came to, and return it."""
    counts = ", ".join(f"{count} {state}" for state, count in manifest["trials"].items())
    log(f"tune: {counts}, {duration(manifest['seconds']['trials'])} of trials, with their starts")
    best = manifest["best"]
    if best is None:
        log(f"tune: all trials failed, the first one: {manifest['first_failure']}")
    else:
        log(
            f"tune: the best is trial {best['number']}: train --config {out}/{BEST_FILE}",
        )
    return TuneResult(out, manifest["best_options"])
