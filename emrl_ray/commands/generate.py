"""Generate candidate crystals partition by partition, leave out duplicates, label them on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.commands.engine import Engine, choose_engine, run_partitions
from emrl_ray.commands.generation_partitions import (
    Block,
    CandidateRange,
    CrystalWorker,
    HashWorker,
    candidates_of,
    matching_limits,
    rejected,
)
from emrl_ray.config import GenerateConfig, UserError
from emrl_ray.crystals.counts import RowCounts, balance, summary_line
from emrl_ray.crystals.matching.structure_hash import StructureHashes, first_of_each
from emrl_ray.crystals.schema import KNOWN_ID, Reject, check_crystal_schema, rejects_table
from emrl_ray.io.atomic import write_json
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import table_fingerprint
from emrl_ray.io.parquet import read_footer, read_table, table_files, write_parquet
from emrl_ray.io.paths import absolute_uri, resolve
from emrl_ray.runs.partitioned_output import Named, PartitionedOutput
from emrl_ray.runs.progress import Progress
from emrl_ray.runs.run_directory import MANIFEST, RunDirectory, refuse_input_as_output
from emrl_ray.sources.generation.base import Candidates
from emrl_ray.sources.generation.novelty import read_known

KEYS, REJECTS = "_keys", "_rejects"
"""Folders beside the crystals: what repeats are found by, and what cannot be used."""
SPARE = 1.1
"""Where some candidates were left out, so many times as many are tried as seem to be missing."""
MAX_GROWTH = 4
"""At most so many times as many candidates as before are tried next."""


class GenerateResult(NamedTuple):
    """What generate left."""

    crystals: str
    """Path or URI of the crystals table."""
    counts: RowCounts
    """Candidates that were looked at, crystals written, and candidates left out by reason."""
    combinations: int
    """Distinct combinations of structure and ions that the library draws from."""


class ChosenCandidates(NamedTuple):
    """The candidates that are written."""

    numbers: NDArray[np.int64]
    """(n,) ascending."""
    known: pa.ChunkedArray
    """(n,) id of the known crystal that each is, or null."""
    counts: RowCounts


def generate(config: GenerateConfig) -> GenerateResult:
    """Write a library of crystals; called again it goes on where it stopped.

    First the keys of the candidates are found, by which repeats and known crystals are left out,
    then the crystals are written. Both run here, or on Ray with `workers` or `address`; labels are
    always computed on Ray. The result depends on neither. Raises UserError, in one line, if there
    is nothing to choose from.
    """
    config = _absolute(config)
    folder = resolve(config.out)
    named = {"from": config.parents, "known": config.known}
    refuse_input_as_output(config.out, **named)
    inputs = {name: _checked(path) for name, path in named.items() if path is not None}
    directory = RunDirectory(
        "generate", folder, asdict(config), inputs, called={"parents": "--from"}
    )
    with directory.locked(config.overwrite):
        candidates = candidates_of(config)
        directory.claim(config.overwrite)
        if candidates.parents_read:
            _account_for("parents", candidates.parents_read, candidates.rejects, config.out)
        if config.known is not None:
            usable, rejects = read_known(config.known, matching_limits())
            _account_for("known", usable.num_rows + len(rejects), rejects, config.out)
        chosen = _choose(config, candidates)
        output = PartitionedOutput(config.out, f"{config.out}/{REJECTS}")
        marked = config.known is not None and config.known_crystals == "mark"
        blocks = _blocks(chosen, config.block_rows, marked)
        engine = _engine(config, config.label != "none")
        _run(engine, config, candidates, CrystalWorker, blocks, output, "crystals")
        output.remove_temporaries()
        result = GenerateResult(config.out, chosen.counts, candidates.combinations)
        content = {"counts": result.counts._asdict(), "combinations": result.combinations}
        write_json(content, folder / MANIFEST)
        _summarize(result, config.count)
    return result


def _absolute(config: GenerateConfig) -> GenerateConfig:
    parents = None if config.parents is None else absolute_uri(config.parents)
    known = None if config.known is None else absolute_uri(config.known)
    return replace(config, out=absolute_uri(config.out), parents=parents, known=known)


def _checked(path: str) -> str:
    """Return the fingerprint of a crystals table; raises UserError, in one line, for what is none."""
    for file in table_files(path):
        check_crystal_schema(read_footer(file).schema.to_arrow_schema(), file.path)
    return table_fingerprint(path)


def _account_for(what: str, rows: int, rejects: Sequence[Reject], out: str) -> None:
    """Write and count the crystals, of `rows` that were read as `what`, that are not fit for it."""
    if rejects:
        file = resolve(f"{out}/{REJECTS}") / f"{what}.parquet"
        write_parquet(rejects_table(rejects), file)
    log(summary_line(f"generate: {what}", rejected(rows, rejects)))


def _choose(config: GenerateConfig, candidates: Candidates) -> ChosenCandidates:
    """Return the first `count` candidates that are neither invalid nor repeats nor to be dropped.

    Whole partitions of candidates are tried until there are enough or no more. The choice depends on
    their order alone, not on how many were tried.
    """
    output = PartitionedOutput(f"{config.out}/{KEYS}", f"{config.out}/{REJECTS}")
    most = np.inf if candidates.total is None else candidates.total
    tried, chosen, engine = 0, None, _engine(config, False)
    wanted = config.count
    while chosen is None or (len(chosen.numbers) < config.count and tried < most):
        tried = int(min(-(-wanted // config.block_rows) * config.block_rows, most))
        spans = _spans(tried, config.block_rows)
        _run(engine, config, candidates, HashWorker, spans, output, "candidates")
        chosen = _first(config, output, tried)
        share = max(len(chosen.numbers), 1) / tried
        missing = config.count - len(chosen.numbers)
        wanted = min(tried + int(SPARE * missing / share), MAX_GROWTH * tried)
    output.remove_temporaries()
    if not len(chosen.numbers):
        raise UserError(f"no candidate is left: {balance(chosen.counts)}")
    return chosen


def _spans(tried: int, rows: int) -> list[CandidateRange]:
    return [
        CandidateRange(f"candidates-{index:06d}", start, min(start + rows, tried))
        for index, start in enumerate(range(0, tried, rows))
    ]


def _first(config: GenerateConfig, output: PartitionedOutput, tried: int) -> ChosenCandidates:
    """Return the first `count` of the candidates `:tried` that are left."""
    table = read_table(output.rows)
    table = table.slice(0, np.searchsorted(table.column("number").to_numpy(), tried))
    numbers = table.column("number").to_numpy()
    second = table.column("second_keys").combine_chunks()
    keys = StructureHashes(
        table.column("key").to_numpy(),
        second.flatten().to_numpy(),
        np.repeat(np.arange(len(numbers)), pc.list_value_length(second).to_numpy()),
    )
    first = first_of_each(keys)
    is_known = table.column(KNOWN_ID).is_valid().to_numpy()
    dropped = is_known & (config.known_crystals == "drop")
    chosen = np.flatnonzero(first & ~dropped)[: config.count]
    stop = int(numbers[chosen[-1]]) + 1 if len(chosen) == config.count else tried
    seen = numbers < stop
    left_out = Counter(
        duplicate=int((seen & ~first).sum()),
        known=int((seen & first & dropped).sum()),
        invalid=stop - int(seen.sum()),
    )
    counts = RowCounts(stop, len(chosen), +left_out)
    return ChosenCandidates(numbers[chosen], table.column(KNOWN_ID).take(pa.array(chosen)), counts)


def _blocks(chosen: ChosenCandidates, rows: int, marked: bool) -> list[Block]:
    starts = range(0, len(chosen.numbers), rows)
    return [
        Block(
            f"slice-{index:06d}",
            chosen.numbers[start : start + rows],
            chosen.known.slice(start, rows).combine_chunks() if marked else None,
        )
        for index, start in enumerate(starts)
    ]


def _run(
    engine: Engine,
    config: GenerateConfig,
    candidates: Candidates,
    worker: type[HashWorker] | type[CrystalWorker],
    partitions: Sequence[Named],
    output: PartitionedOutput,
    unit: str,
) -> None:
    """Compute the pieces that are not there yet; a worker on Ray makes its candidates itself."""
    build, arguments = (
        (worker, (candidates, config, output))
        if engine == "local"
        else (worker.build, (config, output))
    )
    run_partitions(
        engine, config, partitions, output, build, arguments, progress=Progress("generate", unit)
    )


def _engine(config: GenerateConfig, labeled: bool) -> Engine:
    """Return the engine of a stage: without labels this process is faster than Ray's start."""
    anywhere = config.workers is None and config.address is None
    if not labeled and config.engine == "auto" and anywhere:
        return "local"
    return choose_engine("generate", config, config.count, "crystals")


def _summarize(result: GenerateResult, count: int) -> None:
    written = result.counts.rows_out
    log(summary_line("generate", result.counts))
    if written < count:
        log(f"generate: --count {count:,} was not reached: these are all that there are")
    log(
        f"generate: {written:,} crystals of {result.combinations:,} combinations of "
        f"structure and ions in {result.crystals}",
    )
