"""Library: generate candidate crystals, block by block, and label them if asked to."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from emrl_ray.config import ConfigError, LibraryConfig
from emrl_ray.crystals.accounting import Counts, account
from emrl_ray.crystals.combinations import Combinations, combinations
from emrl_ray.crystals.ewald import ewald_energies
from emrl_ray.crystals.generation import generate
from emrl_ray.crystals.storage import Location, absolute, locate, write_json
from emrl_ray.crystals.tables import crystals_table
from emrl_ray.machine import limited_threads
from emrl_ray.pipelines.cluster import connect
from emrl_ray.pipelines.slices import run_slices
from emrl_ray.resuming.output import Output
from emrl_ray.resuming.progress import Progress
from emrl_ray.resuming.runs import MANIFEST, Job

ENERGY = pa.field(
    "ewald_energy",
    pa.float64(),
    metadata={"unit": "eV/atom", "theory": "Ewald sum of formal charges"},
)


class Block(NamedTuple):
    """Crystals `start:stop` of a library."""

    name: str
    start: int
    stop: int


class LibraryResult(NamedTuple):
    """What library left."""

    crystals: str
    """Path or URI of the crystals table."""
    counts: Counts
    combinations: int
    """Distinct combinations of prototype and ions that the library draws from."""


def library(config: LibraryConfig) -> LibraryResult:
    """Write a library of crystals; called again it goes on where it stopped.

    Generating takes milliseconds a block and runs here; labels are computed on Ray. Raises
    ConfigError, in one line, for a part that holds no combination.
    """
    config = replace(config, out=absolute(config.out))
    folder = locate(config.out)
    output = Output(config.out, f"{config.out}/_rejects")
    worker = LibraryWorker(config, output)
    Job("library", folder, asdict(config), {}).open(config.overwrite)
    blocks = _blocks(config.count, config.block_rows)
    progress = Progress("library")
    if config.label == "none":
        counts = _run_here(blocks, worker, progress)
    else:
        connect(config.address)
        counts = run_slices(
            blocks,
            output,
            LibraryWorker,
            (config, output),
            workers=config.workers,
            cpus_per_worker=config.cpus_per_worker,
            progress=progress,
        )
    output.sweep()
    result = LibraryResult(config.out, counts, len(worker.combinations))
    _finish(result, folder)
    return result


class LibraryWorker:
    """Generates, labels and commits one block."""

    def __init__(self, config: LibraryConfig, output: Output) -> None:
        self.config, self.output = config, output
        self.combinations = combinations().part(*config.parts())
        if not len(self.combinations):
            raise ConfigError(f"--part {config.part}: no combination of ions is in it")

    def __call__(self, piece: Block) -> Counts:
        """Write the crystals of a block."""
        with limited_threads(1):
            table = library_table(self.combinations, self.config, piece.start, piece.stop)
            return self.output.commit(piece.name, table, [], piece.stop - piece.start)


def library_table(
    candidates: Combinations, config: LibraryConfig, start: int, stop: int
) -> pa.Table:
    """Return the crystals `start:stop` of a library, with `prototype` and the label asked for."""
    generated = generate(candidates, config.seed, config.strain, start, stop)
    names = np.array([prototype.name for prototype in candidates.prototypes])
    prototype = names[candidates.prototype[generated.combination]].tolist()
    formulas = candidates.formulas[generated.combination].tolist()
    ids = [
        f"{kind}-{formula}-{number:07d}"
        for kind, formula, number in zip(prototype, formulas, range(start, stop), strict=True)
    ]
    columns: dict[str, pa.Array] = {"prototype": pa.array(prototype, pa.string())}
    if config.label == "ewald":
        columns[ENERGY.name] = pa.array(ewald_energies(generated.crystals, generated.charges))
    return crystals_table(generated.crystals, ids, formulas, columns, {ENERGY.name: ENERGY})


def _blocks(count: int, rows: int) -> list[Block]:
    starts = range(0, count, rows)
    return [
        Block(f"slice-{index:06d}", start, min(start + rows, count))
        for index, start in enumerate(starts)
    ]


def _run_here(blocks: list[Block], worker: LibraryWorker, progress: Progress) -> Counts:
    """Compute the blocks that are not there yet in this process, and return the counts of all."""
    done = worker.output.done()
    total = sum((done[block.name] for block in blocks if block.name in done), _nothing())
    finished = sum(block.name in done for block in blocks)
    progress(finished, len(blocks), total)
    for block in blocks:
        if block.name not in done:
            total += worker(block)
            finished += 1
            progress(finished, len(blocks), total)
    return total


def _nothing() -> Counts:
    return Counts(0, 0, Counter())


def _finish(result: LibraryResult, folder: Location) -> None:
    counts = result.counts._asdict()
    write_json({"counts": counts, "combinations": result.combinations}, folder / MANIFEST)
    print(account("library", result.counts))
    print(
        f"library: {result.counts.rows_out:,} crystals of {result.combinations:,} combinations of "
        f"prototype and ions in {result.crystals}",
        flush=True,
    )
