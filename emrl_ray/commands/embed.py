"""Embed on this machine: any source of crystals in, what a model sees them as out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emrl_ray.config import EmbedConfig
from emrl_ray.config.errors import UserError
from emrl_ray.crystals.counts import RowCounts, closing
from emrl_ray.crystals.schema import CRYSTAL_SCHEMA
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import folder_fingerprint
from emrl_ray.io.parquet import parquet_writer
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import available_cpus, limited_threads
from emrl_ray.model import Model
from emrl_ray.runs.output_files import check_output_file_name, rejects_beside, rejects_stream
from emrl_ray.sources.files.local import open_source

EMBEDDING = "embedding"


class EmbedResult(NamedTuple):
    """What embed wrote."""

    embeddings: str
    """Path or URI of the Parquet file."""
    counts: RowCounts
    """What became of the crystals of the source."""

    @property
    def passed(self) -> bool:
        """Whether any crystal could be embedded."""
        return self.counts.rows_out > 0


def embed(config: EmbedConfig) -> EmbedResult:
    """Write the embeddings of the crystals of a source, in its order, and the rejects beside them.

    Crystals are read, embedded and written part by part: memory does not grow with their number
    (but for the names of files). Raises UserError, or FileNotFoundError, in
    one line and before any work, for options that cannot be met.
    """
    check_output_file_name(config.out, (".parquet",))
    threads = config.threads or available_cpus()
    with limited_threads(threads):
        model = Model.load(config.model, threads)
        with open_source(config.source, config.cif_column, config.out) as opened:
            schema = _schema(model, config, opened.columns)
            limits = ValidationLimits.of(config, model.cutoff)
            rows = 0
            with (
                rejects_stream(resolve(rejects_beside(config.out))) as rejects,
                parquet_writer(resolve(config.out), schema) as writer,
            ):
                for loaded in opened.load(limits, threads):
                    found = model.embed_crystals(loaded.crystals, limits.after_reading)
                    rejects.write(loaded.rejects + loaded.located(found.rejects))
                    writer.write_table(_rows(found.crystals, found.embeddings, schema))
                    rows += found.crystals.num_rows
    counts = RowCounts(rows + rejects.reasons.total(), rows, rejects.reasons)
    lines = [*closing("embed", counts, opened.passed_over), f"embed: {config.out}"]
    if rejects.reasons:
        lines.append(f"embed: rejects in {rejects_beside(config.out)}")
    log("\n".join(lines))
    return EmbedResult(config.out, counts)


def _schema(model: Model, config: EmbedConfig, columns: pa.Schema) -> pa.Schema:
    """Return the schema of the file, whose metadata tells the model."""
    if EMBEDDING in columns.names:
        raise UserError(f"{config.source}: has a column {EMBEDDING!r}, as the result; rename it")
    width = model.card.width
    metadata = {
        "emrl-ray": "embed",
        "model_fingerprint": folder_fingerprint(config.model),
        "network": model.card.network,
        "width": str(width),
    }
    return pa.schema(
        [
            CRYSTAL_SCHEMA.field("id"),
            CRYSTAL_SCHEMA.field("formula"),
            pa.field(EMBEDDING, pa.list_(pa.float32(), width)),
            *columns,
        ],
        metadata=metadata,
    )


def _rows(crystals: pa.Table, embeddings: NDArray[np.float32], schema: pa.Schema) -> pa.Table:
    """Return crystals with their embeddings (B, width) in place of their geometry."""
    width = embeddings.shape[1]
    flat = pa.array(np.ascontiguousarray(embeddings, np.float32).reshape(-1))
    column = pa.chunked_array([pa.FixedSizeListArray.from_arrays(flat, width)])
    return pa.Table.from_arrays(
        [column if name == EMBEDDING else crystals.column(name) for name in schema.names],
        schema=schema,
    )
