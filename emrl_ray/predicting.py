"""Predict on this machine, without a cluster: any source of crystals in, a table out."""

from __future__ import annotations

import math
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from emrl_ray.config import ConfigError, IngestConfig, PredictConfig
from emrl_ray.crystals.accounting import Counts, account
from emrl_ray.crystals.loading import Loaded, Loader
from emrl_ray.crystals.parser_pool import ParserPool, main_hidden
from emrl_ray.crystals.plan import CsvColumns, Plan, plan_slices
from emrl_ray.crystals.sources import Listing, list_sources
from emrl_ray.crystals.storage import locate, remove, write_csv, write_json, write_parquet
from emrl_ray.crystals.tables import Reject, rejects_table
from emrl_ray.crystals.validation import Limits
from emrl_ray.machine import available_cpus, limited_threads
from emrl_ray.model import Model

ENDINGS = (".parquet", ".csv", ".json")
FILES_PER_SLICE = 2000
"""Files that are parsed, and predicted, together."""
ROWS_SHOWN = 50
SHOWN = [
    *("id", "formula", "prediction", "lower", "upper"),
    *("nearest_formula", "nearest_target", "nearest_distance"),
]
"""Rows and columns that are printed where no file is asked for."""


class PredictResult(NamedTuple):
    """What predict found."""

    predictions: pa.Table
    """A row a crystal, in the order of the source, with the columns of `Model.predict`."""
    rejects: pa.Table
    """A row for each file or crystal without a prediction."""

    @property
    def passed(self) -> bool:
        """Whether any crystal could be predicted."""
        return self.predictions.num_rows > 0


def predict(config: PredictConfig) -> PredictResult:
    """Predict the crystals of a source, and write or print them.

    Rejects go to a CSV file beside the predictions. Raises ConfigError or another ValueError, or
    FileNotFoundError, in one line and before any work, for options that cannot be met.
    """
    if config.out is not None and not config.out.endswith(ENDINGS):
        raise ConfigError(f"--out {config.out}: must end in {', '.join(ENDINGS)}")
    threads = config.threads or available_cpus()
    with limited_threads(threads), tempfile.TemporaryDirectory() as staging:
        model = Model.load(config.model, threads)
        head = model.head_name(config.head)
        listing = list_sources([config.source])
        columns = CsvColumns(config.cif_column)
        plan = plan_slices(listing, staging, FILES_PER_SLICE, columns)
        if not plan.slices:
            raise ConfigError(f"{config.source}: no crystals there")
        tables, rejects = [], []
        limits = Limits.of(config, model.cutoff)
        checked = limits._replace(min_distance=None)  # the loader did
        for loaded in _load(plan, limits, columns, threads):
            found, unpredicted = model.predict(
                loaded.crystals, checked, head, confidence=config.confidence
            )
            tables.append(found)
            rejects += loaded.rejects
            rejects += [_with_source(reject, loaded) for reject in unpredicted]
            assert loaded.rows_in == loaded.crystals.num_rows + len(loaded.rejects)
    result = PredictResult(pa.concat_tables(tables).combine_chunks(), rejects_table(rejects))
    _write(result, config.out)
    _summarize(result, config.out, listing, plan)
    return result


def _load(plan: Plan, limits: Limits, columns: CsvColumns, threads: int) -> Iterator[Loaded]:
    """Yield what the slices hold; files are read as `ingest` reads them by default."""
    with main_hidden(), ParserPool(threads, IngestConfig.timeout, plan.kinds) as pool:
        for piece in plan.slices:
            yield Loader(plan.columns, limits, pool, columns)(piece)


def _with_source(reject: Reject, loaded: Loaded) -> Reject:
    return reject._replace(source=loaded.sources.get(reject.id, ""))


def _write(result: PredictResult, out: str | None) -> None:
    if out is None:
        return
    file = locate(out)
    rejects = locate(out.rpartition(".")[0] + ".rejects.csv")
    if out.endswith(".parquet"):
        write_parquet(result.predictions, file)
    elif out.endswith(".csv"):
        write_csv(result.predictions, file)
    else:
        write_json([_plain(row) for row in result.predictions.to_pylist()], file)
    if result.rejects.num_rows:
        write_csv(result.rejects, rejects)
    else:
        remove(rejects)


def _plain(row: dict[str, object]) -> dict[str, object]:
    """Return a row with null for the numbers that JSON cannot write."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def _summarize(result: PredictResult, out: str | None, listing: Listing, plan: Plan) -> None:
    """Print the predictions if they went to no file, and on stderr what became of the source."""
    if out is None:
        _print_table(result.predictions)
    reasons = Counter(result.rejects.column("reason").to_pylist())
    rows_out = result.predictions.num_rows
    lines = [account("predict", Counts(rows_out + reasons.total(), rows_out, reasons))]
    if passed_over := len(listing.passed_over) + len(plan.passed_over):
        lines.append(f"predict: {passed_over:,} other files were passed over")
    if out is not None:
        lines.append(f"predict: {out}")
    else:
        shown = result.rejects.slice(0, ROWS_SHOWN).to_pylist()
        lines += ["predict: rejected {id}, {reason} {detail} ({source})".format(**r) for r in shown]
    print("\n".join(lines), file=sys.stderr if out is None else sys.stdout, flush=True)


def _print_table(predictions: pa.Table) -> None:
    rows = predictions.select(SHOWN).slice(0, ROWS_SHOWN).to_pylist()
    cells = [SHOWN, *([_cell(row[name]) for name in SHOWN] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(SHOWN))]
    texts = [pa.types.is_string(predictions.schema.field(name).type) for name in SHOWN]
    for row in cells:
        aligned = [
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(row, widths, texts, strict=True)
        ]
        print("  ".join(aligned).rstrip())
    if predictions.num_rows > ROWS_SHOWN:
        print(f"... {predictions.num_rows - ROWS_SHOWN:,} more, --out FILE keeps them all")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
