"""Evaluate on this machine: predictions against known values, as numbers, tables and a picture."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from emrl_ray.config import EvaluateConfig, UserError
from emrl_ray.crystals.batch import CrystalBatch
from emrl_ray.crystals.composition import elements_present
from emrl_ray.crystals.counts import RowCounts, closing
from emrl_ray.crystals.schema import Reject, float_column, rejects_table, target_columns
from emrl_ray.crystals.units import column_metadata, number_field
from emrl_ray.crystals.validation import ValidationLimits
from emrl_ray.io.atomic import write_bytes, write_csv, write_json
from emrl_ray.io.console import log
from emrl_ray.io.fingerprints import folder_fingerprint
from emrl_ray.io.parquet import write_parquet
from emrl_ray.io.paths import resolve
from emrl_ray.io.runtime import available_cpus, limited_threads, need_extra
from emrl_ray.model import Model, check_free_columns
from emrl_ray.reports.evaluation.parity import parity
from emrl_ray.reports.evaluation.summary import caption, label, measured, sentences
from emrl_ray.runs.output_files import write_rejects
from emrl_ray.runs.result_folder import check_own_folder, made_by
from emrl_ray.sources.files.local import CrystalSource, open_source
from emrl_ray.sources.files.targets import reject_unlabelled
from emrl_ray.training.evaluation import by_element

TABLE, METRICS, ELEMENTS = "predictions.parquet", "metrics.json", "by_element.csv"
PICTURES, REJECTS = ("parity.png", "parity.svg"), "rejects.csv"
TRUE, ERROR = "true_value", "error"
"""Columns of the table beside those of predictions; an error is prediction - true value."""
ROW = "emrl_ray row"
"""Column that leads from a prediction back to its crystal; no file has it."""


class EvaluateResult(NamedTuple):
    """What evaluate found."""

    metrics: dict[str, Any]
    """Numbers by name (`summary.measured`); empty if no crystal could be predicted."""
    predictions: pa.Table
    """A row a crystal scored: the columns of predictions, `true_value` and `error`."""
    by_element: pa.Table
    """A row an element (`training.evaluation.by_element`)."""
    rejects: pa.Table
    """A row for each crystal without a known value or without a prediction."""

    @property
    def passed(self) -> bool:
        """Whether any crystal was scored."""
        return self.predictions.num_rows > 0


class _Scored(NamedTuple):
    """The crystals of a partition, or of all, that have a known value and a prediction."""

    rows: pa.Table
    present: NDArray[np.bool_]
    """(n, 119) their elements, by atomic number."""


def evaluate(config: EvaluateConfig) -> EvaluateResult:
    """Predict labelled crystals and compare; writes metrics, predictions, elements and the plot.

    Raises UserError, FileNotFoundError, or ImportError, in one line and
    before any work, for options that cannot be met.
    """
    if config.out is not None:
        need_extra("matplotlib", extra="report")
        check_own_folder(resolve(config.out), config.out, TABLE, "evaluation")
    threads = config.threads or available_cpus()
    with limited_threads(threads):
        model = Model.load(config.model, threads)
        head, target = model.read_head(config.head), config.target or model.card.target
        with open_source(config.crystals, config.cif_column) as opened:
            _check_columns(opened, target, model, config)
            parts, rejects = _score_all(opened, target, model, head, config, threads)
        scored = _Scored(
            pa.concat_tables([part.rows for part in parts]).combine_chunks(),
            np.concatenate([part.present for part in parts]),
        )
        result = _result(scored, rejects, model, config.confidence)
    _close(result, opened.passed_over, model, head, config)
    return result


def _check_columns(
    opened: CrystalSource, target: str, model: Model, config: EvaluateConfig
) -> None:
    """Raise UserError, in one line, unless the source has values to compare with.

    Another unit is refused and not warned about: every number would be wrong by a factor. Another
    level of theory is a comparison that people do make, and is only said.
    """
    check_free_columns(opened.columns, config.crystals)
    for name in (TRUE, ERROR):
        if name in opened.columns.names and name != target:
            raise UserError(f"{config.crystals}: has a column {name!r}, as the result; rename it")
    if target not in (choices := target_columns(opened.columns)):
        listed = (
            f"its numeric columns: {', '.join(choices)}"
            if choices
            else "it has no column of numbers (ingest --targets joins a CSV of them to crystals)"
        )
        raise UserError(
            f"{config.crystals}: no known values of {target!r} to compare with; {listed}"
        )
    unit, theory = column_metadata(opened.columns.field(target))
    if unit and model.card.unit and unit != model.card.unit:
        raise UserError(
            f"{config.crystals}: {target} is in {unit}, {config.model} predicts "
            f"{model.card.target} in {model.card.unit}; convert the column or correct its unit"
        )
    if theory and model.card.theory and theory != model.card.theory:
        log(f"evaluate: {target} is by {theory}, the model learned {model.card.theory}")


def _score_all(
    opened: CrystalSource,
    target: str,
    model: Model,
    head: str,
    config: EvaluateConfig,
    threads: int,
) -> tuple[list[_Scored], list[Reject]]:
    """Return the scored crystals, partition by partition, and the rejects.

    Raises UserError, in one line, if crystals could be read and none of them has a target.
    """
    limits = ValidationLimits.of(config, model.cutoff)
    parts, rejects, read, labelled = [], [], 0, 0
    for loaded in opened.load(limits, threads):
        crystals, unlabelled = _labelled(loaded.crystals, target)
        scored, unpredicted = _score(
            crystals, target, model, head, limits.after_reading, config.confidence
        )
        parts.append(scored)
        rejects += loaded.rejects + loaded.located(unlabelled + unpredicted)
        read += loaded.crystals.num_rows
        labelled += crystals.num_rows
    if read and not labelled:
        raise UserError(f"{config.crystals}: none of its {read:,} crystals has a {target}")
    return parts, rejects


def _labelled(crystals: pa.Table, target: str) -> tuple[pa.Table, list[Reject]]:
    """Return the crystals that have a finite target, and a reject for each other."""
    values = float_column(crystals, target)
    rejects = reject_unlabelled(crystals.column("id"), values, target, "")
    return (crystals.take(np.flatnonzero(np.isfinite(values))) if rejects else crystals), rejects


def _score(
    crystals: pa.Table,
    target: str,
    model: Model,
    head: str,
    limits: ValidationLimits,
    confidence: float,
) -> tuple[_Scored, list[Reject]]:
    """Return the predictions of crystals with a target, and a reject for each without one."""
    numbered = crystals.append_column(ROW, pa.array(np.arange(crystals.num_rows)))
    found, rejects = model.predict(numbered, limits, head, confidence=confidence)
    kept = crystals.take(found.column(ROW))
    true = kept.column(target).cast(pa.float64())
    error = pc.subtract(found.column("prediction"), true)
    rows = found.drop_columns([ROW, target])
    rows = rows.add_column(2, number_field(TRUE, model.card.unit), true)
    index = rows.column_names.index("prediction") + 1
    rows = rows.add_column(index, number_field(ERROR, model.card.unit), error)
    return _Scored(rows, elements_present(CrystalBatch.from_arrow(kept))), rejects


def _result(
    scored: _Scored, rejects: list[Reject], model: Model, confidence: float
) -> EvaluateResult:
    rows = scored.rows
    elements = by_element(rows, rows.column(TRUE).to_numpy(), scored.present)
    known = model.reference.select(["id", "formula", model.card.target])
    known = known.rename_columns(["id", "formula", TRUE])
    metrics = measured(rows, known, _calibration_ids(model), confidence) if rows.num_rows else {}
    return EvaluateResult(metrics, rows, elements, rejects_table(rejects))


def _calibration_ids(model: Model) -> pa.Array:
    """Return the ids of the rows that the intervals were made of; none for format 1, which kept none."""
    if model.held_out is None:
        return pa.array([], pa.string())
    kept = model.held_out.filter(pc.field("part") == "calibration")
    return kept.column("id").combine_chunks()


def _close(
    result: EvaluateResult, passed_over: int, model: Model, head: str, config: EvaluateConfig
) -> None:
    """Write the files, and print the numbers and what became of the source."""
    target, unit = config.target or model.card.target, model.card.unit
    reasons = Counter(result.rejects.column("reason").to_pylist())
    scored = result.predictions.num_rows
    counts = RowCounts(scored + reasons.total(), scored, reasons)
    if result.passed:
        log(f"{label(target, unit)}: regressor {head} of {config.model}")
        log("\n".join(sentences(result.metrics, result.by_element, unit)))
    log("\n".join(closing("evaluate", counts, passed_over)))
    if config.out is None or not result.passed:
        return
    folder = resolve(config.out)
    about: dict[str, Any] = {
        "model": config.model,
        "model_fingerprint": folder_fingerprint(config.model),
        "crystals": config.crystals,
        "target": target,
        "unit": unit,
    }
    about |= {"head": head, "rows_in": counts.rows_in, "rejects": dict(reasons.most_common())}
    table = result.predictions.replace_schema_metadata(made_by("evaluation"))
    write_parquet(table, folder / TABLE)  # first: it marks the folder as an evaluation's
    write_json(about | result.metrics, folder / METRICS)
    write_csv(result.by_element, folder / ELEMENTS)
    write_rejects(result.rejects, folder / REJECTS)
    for name, picture in zip(PICTURES, _pictures(result, target, unit), strict=True):
        write_bytes(picture, folder / name)
    log(f"evaluate: {config.out}/{PICTURES[0]}, {METRICS}, {TABLE}, {ELEMENTS}")


def _pictures(result: EvaluateResult, target: str, unit: str | None) -> tuple[bytes, bytes]:
    rows, metrics = result.predictions, result.metrics
    ends = rows.column("lower").to_numpy(), rows.column("upper").to_numpy()
    return parity(
        rows.column(TRUE).to_numpy(),
        rows.column("prediction").to_numpy(),
        None if metrics["intervals"] is None else ends,
        label(target, unit),
        caption(metrics, unit),
    )
