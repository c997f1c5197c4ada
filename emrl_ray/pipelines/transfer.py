"""Transfer: the learning curve of the paper's title, from scratch and from a network that knows more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emrl_ray.config import BenchmarkConfig, ConfigError
from emrl_ray.crystals.storage import Location, locate, read_json, write_json
from emrl_ray.features.compiled import State
from emrl_ray.pipelines.cluster import connect
from emrl_ray.pipelines.experiments import Resources, collect, load
from emrl_ray.pipelines.relay import Say, relayed_lines
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
    cells = [
        cell
        for name in config.dataset
        for seed in range(config.first_seed, config.first_seed + config.repeats)
        for cell in _cells(config, name, sources[name], seed)
        if not _is_done(cell, locate(out))
    ]
    print(f"benchmark: {len(cells)} trainings of transfer to do", flush=True)
    if not cells:
        return []
    connect(config.address)
    resources = Resources.of(config)
    run = resources.task(_run)
    with relayed_lines() as say:
        crystals = load(sources, say)
        networks = _pretrained(config, cells, crystals, resources, say)
        running = {
            run.remote(
                cell, crystals[cell.dataset], networks[cell.dataset, cell.seed], out, resources, say
            ): cell.name
            for cell in cells
        }
        return list(collect(running))


def _cells(config: BenchmarkConfig, name: str, source: Source, seed: int) -> list[TransferCell]:
    assert config.transfer is not None
    return [
        TransferCell(
            config.transfer, name, source.preset, source.target, start, share, seed, config.epochs
        )
        for start in STARTS
        for share in SHARES
    ]


def _is_done(cell: TransferCell, results: Location) -> bool:
    """Return whether the results of a cell are there.

    Raises ConfigError, in one line, if one was made with another number of epochs.
    """
    meant = 0 if cell.start == "frozen" else cell.config().epochs
    for head in HEADS_COMPARED:
        place = results / "/".join(cell.result_name(head))
        if not place.is_file():
            return False
        if (found := read_json(place)["epochs"]) != meant:
            raise ConfigError(
                f"{place.path}: made with {found} epochs, --epochs {cell.epochs} makes them {meant}: "
                "use another --out"
            )
    return True


def _pretrained(
    config: BenchmarkConfig,
    cells: list[TransferCell],
    crystals: Mapping[str, Any],
    resources: Resources,
    say: Say,
) -> dict[tuple[str, int], Any]:
    """Return a reference to the network that learned the source, by data set and seed."""
    train = resources.task(_pretrain)
    epochs = config.transfer_epochs or config.epochs
    return {
        (cell.dataset, cell.seed): train.remote(
            cell, epochs, crystals[cell.source], crystals[cell.dataset], resources, say
        )
        for cell in {(cell.dataset, cell.seed): cell for cell in cells}.values()
    }


def _pretrain(
    cell: TransferCell,
    epochs: int,
    source: LabelledCrystals,
    crystals: LabelledCrystals,
    resources: Resources,
    say: Say,
) -> State:
    with resources.limited():
        place = resources.place(f"{cell.source} for {cell.dataset} seed {cell.seed}", say)
        return pretrain(cell, epochs, source, crystals, place).state


def _run(
    cell: TransferCell,
    crystals: LabelledCrystals,
    start: State,
    out: str,
    resources: Resources,
    say: Say,
) -> list[str]:
    """Write the results of a training; return a line about each."""
    lines = []
    with resources.limited():
        records = run_transfer_cell(cell, crystals, start, resources.place(cell.name, say))
        for head, record in records.items():
            write_json(record, locate(out) / "/".join(cell.result_name(head)))
            lines.append(f"{head}: MAE {record['mae']:.4f} with {record['n_train']} rows")
    return lines
