"""Featurize: find the pairs of every crystal once, so that training reads flat arrays."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from emrl_ray.commands.engine import choose_engine, run_partitions, start
from emrl_ray.config import FeaturizeConfig
from emrl_ray.config.errors import UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.counts import RowCounts, summary_line
from emrl_ray.crystals.schema import GEOMETRY, Reject, Stage, check_crystal_schema
from emrl_ray.crystals.validation import ValidationLimits, validate
from emrl_ray.features.graphs import GRAPH_COLUMNS, SOURCE_KEY, Graphs
from emrl_ray.features.pairs import reject_without_pairs
from emrl_ray.io.atomic import write_json
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import table_fingerprint
from emrl_ray.io.parquet import table_schema
from emrl_ray.io.paths import absolute_uri, list_files, resolve
from emrl_ray.io.runtime import limited_threads
from emrl_ray.runs.partitioned_output import PartitionedOutput
from emrl_ray.runs.partitions import RowPartition, plan_rows, read_partition, rows_in
from emrl_ray.runs.progress import Progress
from emrl_ray.runs.run_directory import MANIFEST, RunDirectory, refuse_input_as_output
from emrl_ray.runs.usage import ResourceUsage


class FeaturizeResult(NamedTuple):
    """What featurize left."""

    graphs: str
    """Path or URI of the graphs table."""
    counts: RowCounts


def featurize(config: FeaturizeConfig) -> FeaturizeResult:
    """Write the graphs table of a crystals table; called again it goes on where it stopped."""
    config = replace(config, out=absolute_uri(config.out), crystals=absolute_uri(config.crystals))
    refuse_input_as_output(config.out, crystals=config.crystals)
    _check_columns(config.crystals)
    folder = resolve(config.out)
    output = PartitionedOutput(config.out, f"{config.out}/_rejects")
    inputs = {"crystals": table_fingerprint(config.crystals)}
    directory = RunDirectory("featurize", folder, asdict(config), inputs)
    with directory.locked(config.overwrite):
        directory.claim(config.overwrite)
        partitions = plan_rows(config.crystals, config.block_rows)
        usage = ResourceUsage()
        engine = choose_engine("featurize", config, rows_in(partitions))
        start(engine, config.address)
        with usage.timed("featurize"):
            counts = run_partitions(
                engine,
                config,
                partitions,
                output,
                FeaturizeWorker,
                (ValidationLimits.of(config, config.cutoff), output, inputs["crystals"]),
                progress=Progress("featurize"),
                observe=usage.observe,
            )
        output.remove_temporaries()
        manifest = {
            "counts": counts._asdict(),
            "bytes": sum(file.info.size for file in list_files(folder, ".parquet")),
            "throughput": usage.throughput("featurize"),
            "peak_memory_bytes": usage.peak_memory_bytes(),
        }
        write_json(manifest, folder / MANIFEST)
        _summarize(counts, manifest)
        return FeaturizeResult(config.out, counts)


def _check_columns(crystals: str) -> None:
    """Raise UserError, in one line, for a table that is none of crystals or has columns of ours."""
    schema = table_schema(crystals)
    check_crystal_schema(schema, crystals)
    for name in set(GRAPH_COLUMNS) - {"atomic_numbers"}:
        if name in schema.names:
            raise UserError(f"{crystals}: has a column {name!r}, as graphs have; rename it")


def _summarize(counts: RowCounts, manifest: dict[str, Any]) -> None:
    log(summary_line("featurize", counts))
    pace, memory = manifest["throughput"], manifest["peak_memory_bytes"]
    log(
        f"featurize: {pace['crystals_per_second']:,.0f} crystals/s on {pace['workers']} workers, "
        f"{manifest['bytes'] / max(counts.rows_out, 1):,.0f} bytes a crystal, peak memory "
        f"{memory['driver'] >> 20:,} MiB (driver), {memory['largest_worker'] >> 20:,} MiB (worker)",
    )


class FeaturizeWorker:
    """Computes and commits one partition of crystals."""

    def __init__(self, limits: ValidationLimits, output: PartitionedOutput, source: str) -> None:
        self.limits, self.output, self.source = limits, output, source

    def __call__(self, partition: RowPartition) -> RowCounts:
        """Write the graphs of the partition's crystals and the rejects."""
        with limited_threads(1):
            crystals = read_partition(partition)
            graphs, rejects = graph_table(crystals, self.limits, partition.file)
            metadata = {**(graphs.schema.metadata or {}), SOURCE_KEY: self.source.encode()}
            graphs = graphs.replace_schema_metadata(metadata)
            return self.output.commit(partition.name, graphs, rejects, crystals.num_rows)


def graph_table(
    crystals: pa.Table, limits: ValidationLimits, source: str
) -> tuple[pa.Table, list[Reject]]:
    """Return the graphs table of a crystals table, and a reject for each row that has no graph."""
    assert limits.cutoff is not None
    good, rejects = validate(crystals, limits, source)
    graphs = Graphs.from_crystals(CrystalBatch.from_arrow(good), limits.cutoff)
    lonely = graphs.pairs.n_pairs == 0
    kept, without_pairs = reject_without_pairs(good, lonely, limits.cutoff, source, Stage.FEATURIZE)
    if without_pairs:
        graphs = graphs.take(np.flatnonzero(~lonely))
    columns = kept.drop_columns(list(GEOMETRY))
    return graphs.to_table(limits.cutoff, columns), rejects + without_pairs
