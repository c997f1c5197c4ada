"""Transfer: the learning curve of the paper's title, from scratch and from a network that knows more."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from emrl_ray.config import BenchmarkConfig, ConfigError
from emrl_ray.crystals.fingerprints import table_fingerprint
from emrl_ray.crystals.storage import locate
from emrl_ray.evaluation import LEAST_ROWS
from emrl_ray.features.compiled import State
from emrl_ray.labels import count_labels
from emrl_ray.pipelines.cluster import connect
from emrl_ray.pipelines.experiments import Resources, has_result, load, run_tasks, write_records
from emrl_ray.pipelines.relay import Say, relayed_lines
from emrl_ray.protocol.cells import TEST
from emrl_ray.protocol.datasets import LabelledCrystals, Source
from emrl_ray.protocol.transfer import (
    HEADS_COMPARED,
    SHARES,
    STARTS,
    TransferCell,
    pretrain,
    run_transfer_cell,
)


def transfer(config: BenchmarkConfig, out: str, sources: Mapping[str, Source]) -> list[str]:
    """Run the trainings whose results are missing; return what failed."""
    assert config.transfer is not None
    _check_rows(sources)
    cells = [
        cell
        for name in dict.fromkeys(config.dataset)
        for seed in range(config.first_seed, config.first_seed + config.repeats)
        for cell in _cells(config, name, sources[name], seed)
        if not all(
            has_result(locate(out) / "/".join(cell.result_name(head)), cell.meant())
            for head in HEADS_COMPARED
        )
    ]
    print(f"benchmark: {len(cells)} trainings of transfer to do", flush=True)
    if not cells:
        return []
    connect(config.address)
    resources = Resources.of(config)
    run = resources.task(_run)
    with relayed_lines() as say:
        crystals = load(sources, out, say)
        networks = _pretrained(cells, crystals, resources, say)
        tasks = (
            (
                cell.name,
                partial(
                    run.remote,
                    cell,
                    crystals[cell.dataset],
                    networks[cell.dataset, cell.seed],
                    out,
                    resources,
                    say,
                ),
            )
            for cell in cells
        )
        return run_tasks(tasks, config.workers, len(cells))


def _check_rows(sources: Mapping[str, Source]) -> None:
    """Raise ConfigError, in one line, for a data set too small for its least share."""
    for name, source in sources.items():
        rows = count_labels(source.table, source.target)
        least = round(min(SHARES) * (1 - TEST) * rows)
        if least < LEAST_ROWS:
            raise ConfigError(
                f"--transfer: {min(SHARES):.0%} of the training rows of {name} are {least}, "
                f"at least {LEAST_ROWS} are needed"
            )


def _cells(config: BenchmarkConfig, name: str, source: Source, seed: int) -> list[TransferCell]:
    assert config.transfer is not None
    data = table_fingerprint(source.table)
    before = config.transfer_epochs or config.epochs
    return [
        TransferCell(
            config.transfer,
            before,
            name,
            source.preset,
            source.target,
            start,
            share,
            seed,
            config.epochs,
            data,
        )
        for start in STARTS
        for share in SHARES
    ]


def _pretrained(
    cells: list[TransferCell],
    crystals: Mapping[str, Any],
    resources: Resources,
    say: Say,
) -> dict[tuple[str, int], Any]:
    """Return a reference to the network that learned the source, by data set and seed."""
    train = resources.task(_pretrain)
    return {
        (cell.dataset, cell.seed): train.remote(
            cell, crystals[cell.source], crystals[cell.dataset], resources, say
        )
        for cell in {(cell.dataset, cell.seed): cell for cell in cells}.values()
    }


def _pretrain(
    cell: TransferCell,
    source: LabelledCrystals,
    crystals: LabelledCrystals,
    resources: Resources,
    say: Say,
) -> State:
    with resources.limited():
        place = resources.place(f"{cell.source} for {cell.dataset} seed {cell.seed}", say)
        return pretrain(cell, source, crystals, place).state


def _run(
    cell: TransferCell,
    crystals: LabelledCrystals,
    start: State,
    out: str,
    resources: Resources,
    say: Say,
) -> list[str]:
    """Write the results of a training; return a line about each."""
    with resources.limited():
        place = resources.place(cell.name, say)
        return write_records(run_transfer_cell(cell, crystals, start, place), out)
