"""Predict on this machine, without a cluster: any source of crystals in, a table out."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from emrl_ray.config import PredictConfig
from emrl_ray.crystals.counts import RowCounts, closing
from emrl_ray.crystals.schema import KNOWN_ID, rejects_table
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.console import log, table
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import available_cpus, limited_threads
from emrl_ray.model import Model, check_free_columns
from emrl_ray.runs.output_files import (
    check_output_file_name,
    rejects_beside,
    write_rejects,
    write_table,
)
from emrl_ray.sources.files.local import open_source

ROWS_SHOWN = 50
HEADINGS = {
    **{name: name for name in ("id", "formula", "prediction", "lower", "upper")},
    "domain_reason": "outside",
    KNOWN_ID: "known",
    "nearest_id": "nearest",
    "nearest_formula": "its formula",
    "nearest_target": "its value",
    "nearest_distance": "distance",
}
"""Columns that are printed where no file is asked for, and how they are called there."""


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

    Rejects go to a CSV file beside the predictions. Raises UserError, or
    FileNotFoundError, in one line and before any work, for options that cannot be met.
    """
    if config.out is not None:
        check_output_file_name(config.out)
    threads = config.threads or available_cpus()
    with limited_threads(threads):
        model = Model.load(config.model, threads)
        head = model.read_head(config.head)
        with open_source(config.source, config.cif_column, config.out) as opened:
            check_free_columns(opened.columns, config.source)
            tables, rejects = [], []
            limits = ValidationLimits.of(config, model.cutoff)
            for loaded in opened.load(limits, threads):
                found, unpredicted = model.predict(
                    loaded.crystals, limits.after_reading, head, confidence=config.confidence
                )
                tables.append(found)
                rejects += loaded.rejects + loaded.located(unpredicted)
    result = PredictResult(pa.concat_tables(tables).combine_chunks(), rejects_table(rejects))
    if config.out is not None:
        write_table(result.predictions, config.out)
        write_rejects(result.rejects, resolve(rejects_beside(config.out)))
    else:
        unit = f" in {model.card.unit}" if model.card.unit else ""
        inside = _inside(result.predictions)
        title = f"{model.card.target}{unit}, regressor {head}{inside}"
        print_rows(title, result.predictions, HEADINGS)
    close("predict", result.predictions.num_rows, result.rejects, opened.passed_over, config.out)
    return result


def _inside(rows: pa.Table) -> str:
    """Return how many rows are outside the domain, for the title; nothing if it is not known."""
    verdicts = rows.column("in_domain").drop_null()
    if not len(verdicts):
        return ""
    outside = len(verdicts) - pc.sum(verdicts).as_py()
    return (
        f"; {outside:,} of {rows.num_rows:,} outside the domain"
        if outside
        else "; all in the domain"
    )


def print_rows(title: str, rows: pa.Table, headings: dict[str, str]) -> None:
    """Print the first rows of a table below a title: the columns of `headings` that it has."""
    shown = rows.slice(0, ROWS_SHOWN)
    columns = {
        heading: shown.column(name).to_pylist()
        for name, heading in headings.items()
        if name in rows.column_names
    }
    log("\n".join([title, *table(columns)]))
    if rows.num_rows > ROWS_SHOWN:
        log(f"... {rows.num_rows - ROWS_SHOWN:,} more, --out FILE keeps them all")


def close(
    verb: str, crystals_out: int, rejects: pa.Table, passed_over: int, out: str | None
) -> None:
    """Print what became of a source: on stderr, with the rejects, where rows went to stdout."""
    reasons = Counter(rejects.column("reason").to_pylist())
    counts = RowCounts(crystals_out + reasons.total(), crystals_out, reasons)
    lines = closing(verb, counts, passed_over)
    if out is not None:
        lines.append(f"{verb}: {out}")
        if rejects.num_rows:
            lines.append(f"{verb}: rejects in {rejects_beside(out)}")
    else:
        shown = rejects.slice(0, ROWS_SHOWN).to_pylist()
        lines += [
            f"{verb}: rejected {row['id']}, {row['reason']} {row['detail']} ({row['source']})"
            for row in shown
        ]
    log("\n".join(lines), aside=out is None)
